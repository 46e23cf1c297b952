"""TIFF and BigTIFF: the directory that describes the picture, read without trust.

A file is a chain of directories of tags (TIFF 6.0, section 2; for BigTIFF the offsets are of 64 bits). The picture is
the first directory that does not call itself a reduced copy or a mask (NewSubfileType): thumbnails that stand first are
passed over, and the full picture is also looked for in the SubIFDs of the first directory, where cameras put it. If
there is none, it is the first directory.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from batchproc.errors import Code, StageError

Number: TypeAlias = int | float

NEW_SUBFILE_TYPE, SUBFILE_TYPE, WIDTH, SUB_IFDS = 254, 255, 256, 330
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_OLD_REDUCED = 2  # a value of SubfileType
_DIRECTORIES_READ = 64

# Field types (section 2; BigTIFF's from 16 on) -> struct's letters, and how many of those make a value.
LETTERS = {1: "B", 2: "B", 3: "H", 4: "L", 6: "b", 7: "B", 8: "h", 9: "l", 11: "f", 12: "d", 13: "L",
            16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_RATIONALS = {5: "L", 10: "l"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One entry of a directory: `count` values of a type, which stand at `offset` of the file."""

    kind: int
    count: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The fields of one directory by their tags. Values are read when they are asked for."""

    content: bytes
    order: str  # struct's sign for the byte order
    fields: Mapping[int, Field]
    next_offset: int

    def numbers(self, tag: int, default: tuple[Number, ...] = ()) -> tuple[Number, ...]:
        """The values of a field that decides the picture; the default when it is not there.

        Raises `StageError`: truncated when they lie beyond the end of the file, image.corrupt when they are no numbers.
        """
        field = self.fields.get(tag)
        if field is None or field.count == 0:
            return default
        is_rational = field.kind in _RATIONALS
        letter = _RATIONALS.get(field.kind) or LETTERS.get(field.kind)
        if letter is None:
            raise corrupt(f"tag {tag} is of type {field.kind}")
        count = field.count * (1 + is_rational)
        _check_within(self.content, field.offset, count * struct.calcsize(f"={letter}"))
        values = struct.unpack_from(f"{self.order}{count}{letter}", self.content, field.offset)
        if is_rational:
            return tuple(top / bottom if bottom else 0 for top, bottom in zip(values[::2], values[1::2], strict=True))
        return values

    def whole_numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """As `numbers`, for fields that count, point or choose."""
        values = self.numbers(tag, default)
        if not all(isinstance(value, int) and value >= 0 for value in values):
            raise corrupt(f"tag {tag} holds no whole numbers")
        return tuple(int(value) for value in values)

    def whole_number(self, tag: int, default: int) -> int:
        """The first of `whole_numbers`."""
        return self.whole_numbers(tag, (default,))[0]

    def hints(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """As `whole_numbers`, for fields that never fail a picture: the default when they are of no use."""
        try:
            return self.whole_numbers(tag, default)
        except StageError:
            return default

    def block(self, tag: int) -> bytes:
        """The bytes of a field that does not decide the pixels; none when they are not there."""
        field = self.fields.get(tag)
        if field is None or field.kind not in (1, 7):
            return b""
        return self.content[field.offset : field.offset + field.count]

    @property
    def is_whole_picture(self) -> bool:
        """Whether it describes a picture, and calls itself neither a reduced copy nor a mask."""
        is_part = self.hints(NEW_SUBFILE_TYPE, (0,))[0] & (_REDUCED | _MASK)
        return WIDTH in self.fields and not is_part and self.hints(SUBFILE_TYPE, (0,))[0] != _OLD_REDUCED


def picture_directory(content: bytes) -> Directory:
    """The directory of the picture. Raises `StageError`: truncated, image.corrupt."""
    order = "<" if content[:2] == b"II" else ">"
    is_big = content[2:4] in (b"+\x00", b"\x00+")
    _check_within(content, 0, 16 if is_big else 8)
    (offset,) = struct.unpack_from(order + ("Q" if is_big else "L"), content, 8 if is_big else 4)
    if offset < 8:
        raise corrupt("it has no directory")
    first = _read(content, order, offset, is_big=is_big)
    return first if first.is_whole_picture else _whole_picture(first, is_big=is_big, seen={offset}) or first


def corrupt(what: str) -> StageError:
    """The failure of a file that is no valid TIFF."""
    return StageError(Code.IMAGE_CORRUPT, f"the tiff image is damaged: {what}")


def truncated(content: bytes) -> StageError:
    """The failure of a file that points beyond its end."""
    return StageError(Code.TRUNCATED, f"the tiff image ends early: {len(content)} bytes")


def _whole_picture(first: Directory, *, is_big: bool, seen: set[int]) -> Directory | None:
    """Looks below the first directory, then behind it. Raises `StageError` where it may be in what cannot be read."""
    waiting, failure = [*first.hints(SUB_IFDS), first.next_offset], None
    while waiting and len(seen) < _DIRECTORIES_READ:
        offset = waiting.pop(0)
        if offset in seen or offset == 0:
            continue
        seen.add(offset)
        try:
            directory = _read(first.content, first.order, offset, is_big=is_big)
        except StageError as error:
            failure = error
            continue
        if directory.is_whole_picture:
            return directory
        waiting += [directory.next_offset] if not waiting else []
    if failure is not None:
        raise failure
    return None


def _read(content: bytes, order: str, offset: int, *, is_big: bool) -> Directory:
    count_letter, letter, size = ("Q", "Q", 20) if is_big else ("H", "L", 12)
    head = struct.calcsize(f"={count_letter}")
    width = struct.calcsize(f"={letter}")
    _check_within(content, offset, head)
    (entries,) = struct.unpack_from(order + count_letter, content, offset)
    _check_within(content, offset + head, entries * size)
    fields: dict[int, Field] = {}
    for at in range(offset + head, offset + head + entries * size, size):
        tag, kind, count, value = struct.unpack_from(f"{order}HH{letter}{letter}", content, at)
        is_inline = count * _size(kind) <= width
        fields.setdefault(tag, Field(kind=kind, count=count, offset=at + size - width if is_inline else value))
    end = offset + head + entries * size
    next_offset = struct.unpack_from(order + letter, content, end)[0] if end + width <= len(content) else 0
    return Directory(content=content, order=order, fields=fields, next_offset=next_offset)


def _size(kind: int) -> int:
    """The bytes of one value; a type that is not known is taken for the smallest."""
    if kind in _RATIONALS:
        return 8
    return struct.calcsize(f"={LETTERS.get(kind, 'B')}")


def _check_within(content: bytes, offset: int, length: int) -> None:
    if offset + length > len(content):
        raise truncated(content)
