"""`metadata-<split>.jsonl`: the rows of each split, chosen by their keys alone: no later item moves another."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from itertools import accumulate
from pathlib import Path

from batchproc.errors import DiskError
from batchproc.remembered import Row
from batchproc.sink.atomic import replacing
from batchproc.sink.manifests import encode_rows

DIGITS = 13  # of a key: as much as a float holds


def file_names(splits: Iterable[str], suffix: str = ".jsonl") -> dict[str, str]:
    """The file of each split, by its name."""
    return {split: f"metadata-{split}{suffix}" for split in splits}


def split_of(key_hex: str, ratios: Mapping[str, float]) -> str:
    """The split that an item belongs to; `ratios` add up to 1."""
    place = int(key_hex[:DIGITS], 16) / 16**DIGITS
    bounds = zip(ratios, accumulate(ratios.values()), strict=True)
    return next((split for split, bound in bounds if place < bound), next(reversed(list(ratios))))


def write_splits(output: Path, ratios: Mapping[str, float], rows: Iterable[Row]) -> None:
    """Writes the rows, each into the file of its split. Raises `DiskError`."""
    try:
        with ExitStack() as stack:
            files = {
                split: stack.enter_context(replacing(output / name)) for split, name in file_names(ratios).items()
            }
            for row in rows:
                for chunk in encode_rows((row,)):
                    files[split_of(str(row["key"]), ratios)].write(chunk)
    except OSError as error:
        raise DiskError(f"{error.filename}: cannot be written: {error.strerror}. The next run writes it.") from error
