"""The pictures of a run's gallery folder, as data inside the page, within a budget of bytes."""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeVar

from markupsafe import Markup
from PIL import Image

PICTURE = re.compile(r"(?a:([0-9a-f]{32})-before\.jpg)")
LARGEST_BYTES = 120_000  # of one file; ours are about 10 KB
SMALL_PX = 160
_GROWTH = 4 / 3  # base64
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One JPEG as a `data:` URI, with its size in px."""

    uri: Markup
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One item before and after."""

    key: str
    before: Picture
    after: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The pairs to show, of `found` in the folder."""

    pairs: Sequence[Pair]
    found: int


def read_gallery(folder: Path, *, most: int, budget_bytes: int) -> Gallery:
    """At most `most` pairs, spread evenly over those there are, in the order of their keys, within `budget_bytes`.

    When they do not fit they are made smaller, and then fewer. A file that is no JPEG is passed over.
    """
    keys = sorted(match[1] for path in _files(folder) if (match := PICTURE.fullmatch(path.name)))
    chosen = [loaded for key in _spread(keys, most) if (loaded := _load(folder, key))]
    if _weight(chosen) > budget_bytes:
        chosen = [(key, _shrink(before), _shrink(after)) for key, before, after in chosen]
    if (weight := _weight(chosen)) > budget_bytes:
        chosen = _spread(chosen, int(len(chosen) * budget_bytes / weight))
    while _weight(chosen) > budget_bytes:
        chosen = chosen[:-1]
    return Gallery(
        pairs=[Pair(key=key, before=_picture(before), after=_picture(after)) for key, before, after in chosen],
        found=len(keys),
    )


_Loaded = tuple[str, bytes, bytes]


def _files(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


def _spread(values: Sequence[T], most: int) -> list[T]:
    if len(values) <= most:
        return list(values)
    return [values[at * len(values) // most] for at in range(most)]


def _load(folder: Path, key: str) -> _Loaded | None:
    before, after = (_jpeg(folder / f"{key}-{word}.jpg") for word in ("before", "after"))
    return (key, before, after) if before and after else None


def _jpeg(path: Path) -> bytes:
    """The bytes of a whole JPEG of a modest size; empty for anything else."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_BYTES:
        return b""
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return b""
    return content


def _weight(chosen: Sequence[_Loaded]) -> float:
    return sum((len(before) + len(after)) * _GROWTH + 400 for _, before, after in chosen)


def _shrink(content: bytes) -> bytes:
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        image.thumbnail((SMALL_PX, SMALL_PX))
        file = BytesIO()
        image.save(file, "JPEG", quality=60)
    return file.getvalue()


def _picture(content: bytes) -> Picture:
    with Image.open(BytesIO(content), formats=("JPEG",)) as image:
        width, height = image.size
    uri = Markup("data:image/jpeg;base64," + base64.b64encode(content).decode())  # nothing in it needs escaping
    return Picture(uri=uri, width_px=width, height_px=height)
