"""The address guard refuses what is not a public address, in every spelling."""

import pytest

from batchproc.download.dial import REFUSED_IPV4, REFUSED_IPV6, AddressGuard

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:168.63.129.16", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::808:808", "2002:7f00:1::",
    "2002:a00:1::", "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:0:7f00:1::1", "2001:2::1", "2001:20::1",
    "2001:db8::1", "3fff::1", "100::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "4000::1",
]

PERMITTED = [
    "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1", "168.63.129.17",
    "172.15.255.255", "172.32.0.1", "192.0.1.1", "198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700::1111",
    "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]


@pytest.mark.parametrize("address", REFUSED)
def test_guard_refuses(address: str) -> None:
    assert not AddressGuard().permits(address)


@pytest.mark.parametrize("address", PERMITTED)
def test_guard_permits(address: str) -> None:
    assert AddressGuard().permits(address)


def test_the_table_is_pinned() -> None:
    assert [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    ] == [str(network) for network in REFUSED_IPV4]
    assert ["2001::/23", "2001:db8::/32", "3fff::/20"] == [str(network) for network in REFUSED_IPV6]


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_an_opened_network_is_open_in_every_spelling(address: str) -> None:
    assert AddressGuard(["127.0.0.0/8"]).permits(address)


def test_opening_one_network_opens_no_other() -> None:
    guard = AddressGuard(["10.1.0.0/16", "fd00::/8"])

    assert [True, False, True, False] == [guard.permits(text) for text in ("10.1.2.3", "10.2.0.1", "fd00::1", "::1")]
