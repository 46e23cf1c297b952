"""Connections are counted in all and by host, in bounded memory."""

from batchproc.pipeline.observer import HOSTS_REMEMBERED, HOSTS_TOLD, Connections
from batchproc.record.run_parts import ConnectionTotals, HostConnections


def test_the_hosts_asked_most_are_told_and_all_are_counted() -> None:
    sums = Connections()
    sums.add({"opened a.example": 1, "dropped b.example": 1})
    sums.add({"reused a.example": 2, "opened b.example": 1})

    assert ConnectionTotals(
        opened=2, reused=2, dropped=1,
        hosts=(
            HostConnections(host="a.example", opened=1, reused=2, dropped=0),
            HostConnections(host="b.example", opened=1, reused=0, dropped=1),
        ),
    ) == sums.describe()  # fmt: skip


def test_without_a_connection_nothing_is_told() -> None:
    assert Connections().describe() is None


def test_hosts_without_end_take_no_memory_without_end() -> None:
    sums = Connections()
    for number in range(HOSTS_REMEMBERED + 9):
        sums.add({f"opened {number}.example": 1})
    told = sums.describe()

    assert told is not None
    assert (HOSTS_REMEMBERED + 9, HOSTS_TOLD) == (told.opened, len(told.hosts))
    assert HOSTS_REMEMBERED == len(sums._hosts)
