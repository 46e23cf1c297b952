"""The small pictures on a data card: files beside it, copies of those that runs make of some of their images."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from batchproc.errors import DiskError
from batchproc.sink.atomic import replacing

FOLDER = "thumbnails"
MOST = 8
NAME = re.compile(r"(?a:([0-9a-f]{32})\.jpg)")
MADE_BY_RUN = re.compile(r"(?a:([0-9a-f]{32})-after\.jpg)")


def keep_pictures(output: Path, gallery: Path, made: Callable[[Iterable[str]], set[str]]) -> list[str]:
    """Brings the pictures up to what there is; returns their paths below `output`. Raises `DiskError`.

    `gallery`: those of the run that ends; `made`: which of these keys have an image. A picture stays until its image
    goes, so that the card does not change with each run.
    """
    folder = output / FOLDER
    try:
        there, fresh = _keys(folder, NAME), _keys(gallery, MADE_BY_RUN)
        known = made({*there, *fresh})
        chosen = sorted({*there} & known)[:MOST]
        chosen = sorted(chosen + sorted({*fresh} & known - {*chosen})[: MOST - len(chosen)])
        for key in chosen:
            if key in fresh:
                _copy(fresh[key], folder / f"{key}.jpg")
        for key in {*there} - {*chosen}:
            there[key].unlink(missing_ok=True)
    except OSError as error:
        raise DiskError(f"{error.filename or folder}: cannot be written: {error.strerror}.") from error
    return [f"{FOLDER}/{key}.jpg" for key in chosen]


def _keys(folder: Path, name: re.Pattern[str]) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    found = ((name.fullmatch(path.name), path) for path in folder.iterdir() if path.is_file())
    return {match[1]: path for match, path in found if match}


def _copy(source: Path, target: Path) -> None:
    content = source.read_bytes()
    if not target.is_file() or target.read_bytes() != content:
        target.parent.mkdir(exist_ok=True)
        with replacing(target) as file:
            file.write(content)


def named_in(card: bytes) -> set[str]:
    """The pictures that a card of ours shows."""
    return {match.decode() for match in re.findall(rb"%s/[0-9a-f]{32}\.jpg" % FOLDER.encode(), card)}
