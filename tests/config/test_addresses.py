"""Addresses of lists and outputs, as far as a config can tell that they are wrong."""

import pytest

from batchproc.config.units import find_bad_address


@pytest.mark.parametrize(
    ("says", "address"),
    [
        ("", "s3://bucket"),
        ("", "az://account/container/folder"),
        ("begin with s3://", "ftp://host/folder"),
        ("begin with s3://", "s4://bucket"),
        ("must not hold a login", "s3://key:secret@bucket/folder"),
        ("must not hold a login", "gs://bucket/folder?sig=x"),
        ("", "https://host/list.csv?sig=x"),
        ("must name a bucket", "s3://"),
    ],
)
def test_addresses_are_checked(says: str, address: str) -> None:
    schemes = ("s3", "gs", "az", "https")

    assert says in find_bad_address(address, schemes)
    assert bool(says) == bool(find_bad_address(address, schemes))
