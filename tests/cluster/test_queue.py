"""Which part may be handed out next."""

from batchproc.cluster.driver import PartQueue
from batchproc.cluster.shard_plan import PendingPart


def part(number: int, domain: str | None = None) -> PendingPart:
    return PendingPart(
        number=number, generation=0, list_name="list.jsonl", offset=0, size_bytes=1, items=1, first_shard=0,
        domain=domain,
    )  # fmt: skip


def numbers(queue: PartQueue) -> list[int]:
    found = []
    while queue:
        found.append(queue.take().number)
    return found


def test_parts_come_in_the_order_in_which_they_were_added() -> None:
    queue = PartQueue()
    for number in (3, 1, 2):
        queue.add(part(number))

    assert [3, 1, 2] == numbers(queue)


def test_of_one_domain_only_one_part_is_out_at_a_time() -> None:
    queue = PartQueue()
    first, second, other = part(0, "big.org"), part(1, "big.org"), part(2, "large.org")
    for one in (first, second, other):
        queue.add(one)

    assert [0, 2] == numbers(queue)
    assert 1 == queue.size

    queue.put_down(first)

    assert [1] == numbers(queue)


def test_a_part_that_failed_waits_for_the_other_of_its_domain() -> None:
    queue = PartQueue()
    first, second = part(0, "big.org"), part(1, "big.org")
    queue.add(first)
    queue.add(second)
    queue.take()
    queue.put_down(first)

    queue.add(first)

    assert [1] == numbers(queue)

    queue.put_down(second)

    assert [0] == numbers(queue)


def test_the_next_slice_of_a_domain_comes_before_what_waits() -> None:
    queue = PartQueue()
    first = part(0, "big.org")
    for one in (first, part(1, "big.org"), part(2), part(3)):
        queue.add(one)

    queue.take()
    queue.put_down(first)

    assert [1, 2, 3] == numbers(queue)
