"""Which hashes are alike: exactly those within the bits, the first one of the list kept."""

import random

import pytest

from batchproc.ledger.deciding import FirstOfItsKind


def decide_slowly(hashes: list[int], bits: int) -> list[int | None]:
    """Each hash compared with all that are kept."""
    kept: list[int] = []
    found: list[int | None] = []
    for item, one in enumerate(hashes):
        like = next((other for other in kept if (hashes[other] ^ one).bit_count() <= bits), None)
        found.append(like)
        if like is None:
            kept.append(item)
    return found


@pytest.mark.parametrize("bits", [0, 1, 4, 16])
def test_pieces_find_what_comparing_all_finds(bits: int) -> None:
    source = random.Random(bits)
    bases = [source.getrandbits(64) for _ in range(40)]
    hashes = [
        source.choice(bases) ^ sum(1 << place for place in source.sample(range(64), source.randint(0, bits + 2)))
        for _ in range(400)
    ]
    kept = FirstOfItsKind(bits)

    assert decide_slowly(hashes, bits) == [kept.find_or_keep(item, one) for item, one in enumerate(hashes)]
