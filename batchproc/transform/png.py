"""PNG: the chunks that decide the picture are handed to Pillow, and nothing else of the file reaches its parser.

Critical chunks decide: their checksums are verified, one that is not known here makes the picture unsupported, one
whose pixels end early is corrupt. Ancillary chunks never fail an image: of each kind the first with a right checksum
counts where it stands before the pixels. Of an animation the default image is shown.

A colour that is declared transparent is compared at the file's full depth. Indices beyond the palette are black.

EXIF is also looked for in the text chunk where ImageMagick hides it.

Source: PNG, third edition (W3C), sections 5 and 11; what is not laid down there as in libpng.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from io import BytesIO
from itertools import takewhile

from msgspec import Struct
from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from batchproc.errors import Code, StageError
from batchproc.transform.colour import (
    PROFILE_LIMIT_BYTES,
    SRGB_GAMMA,
    SRGB_PRIMARIES,
    UNSPECIFIED,
    Declared,
    Space,
    named_space,
    space_of_gamma,
)
from batchproc.transform.modes import (
    UPRIGHT,
    Presentation,
    display_by,
    read_hidden_orientation,
    read_orientation,
    to_working_mode,
)

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_COUNT_ANYWHERE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # ancillary chunks that may follow the pixels

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
_CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
_DEPTHS = {GREY: (1, 2, 4, 8, 16), PALETTE: (1, 2, 4, 8)}
_DEPTHS_OF_OTHERS = (8, 16)
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_BLOCK_BYTES = 1 << 16

_LOOK = (b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")  # the chunks that change what is seen
_HIDDEN_EXIF = b"Raw profile type exif"
_HIDDEN_EXIF_BYTES = 1 << 16  # the orientation stands at the beginning
_GAMMAS = (0.1, 10.0)  # beyond it is no gamma


class Chunk(Struct, frozen=True, kw_only=True):
    """One chunk as it stands in the file; `checksum` is None when the file ends before it."""

    kind: bytes
    content: memoryview
    checksum: int | None

    @property
    def is_critical(self) -> bool:
        """Whether a decoder must understand it (section 5.4)."""
        return not self.kind[0] & 0x20

    @property
    def is_sound(self) -> bool:
        """Whether all of it is there, as it was written."""
        return self.checksum == zlib.crc32(self.content, zlib.crc32(self.kind))


class PngHeader(Struct, frozen=True, kw_only=True):
    """The IHDR chunk."""

    width: int
    height: int
    depth: int
    colour_type: int
    is_interlaced: bool

    @property
    def pixel_bytes(self) -> int:
        """How long the pixels are before their compression, with the filter byte of each row."""
        passes = _ADAM7 if self.is_interlaced else ((0, 0, 1, 1),)
        return sum(self._pass_bytes(*one) for one in passes)

    def _pass_bytes(self, left: int, top: int, step_x: int, step_y: int) -> int:
        width, height = -((left - self.width) // step_x), -((top - self.height) // step_y)
        if width <= 0 or height <= 0:
            return 0
        return height * (1 + (width * _CHANNELS[self.colour_type] * self.depth + 7) // 8)


class Parts(Struct, frozen=True, kw_only=True):
    """A PNG file taken apart. `tags` are the ancillary chunks that count, in the file's order."""

    header: PngHeader
    palette: bytes  # three bytes for each entry; empty where pixels are no indices
    pixels: tuple[Chunk, ...]
    tags: tuple[Chunk, ...]

    def tag(self, kind: bytes) -> bytes | None:
        """The content of the ancillary chunk of a kind, if there is a sound one."""
        return next((bytes(chunk.content) for chunk in self.tags if chunk.kind == kind and chunk.is_sound), None)

    @property
    def alphas(self) -> bytes:
        """The alpha of the first entries of the palette."""
        alphas = self.tag(b"tRNS") if self.palette else None
        return alphas if alphas and len(alphas) <= len(self.palette) // 3 else b""

    @property
    def key(self) -> tuple[int, ...]:
        """The one grey or colour that is transparent, as samples of the file's depth; empty: none is."""
        key, channels = self.tag(b"tRNS"), _CHANNELS[self.header.colour_type]
        if key is None or self.header.colour_type not in (GREY, COLOUR) or len(key) != 2 * channels:
            return ()
        return tuple(sample & ((1 << self.header.depth) - 1) for sample in struct.unpack(f">{channels}H", key))


class PngReader(PngImageFile):
    """Pillow's reader, given no more than the critical chunks, with all pixels in one of them."""

    def __init__(self, content: bytes) -> None:
        self.parts = _taken_apart([*_chunks(content)])
        super().__init__(BytesIO(_put_together(self.parts)))

    @property
    def display(self) -> Presentation:
        """How it is meant to be seen; a chunk that is of no use leaves a note where it would have changed that."""
        parts = self.parts
        notes = [f"{kind.decode()} ignored: its checksum does not match" for kind in _spoilt(parts)]
        if _has_useless_key(parts):
            notes.append("tRNS ignored: malformed")
        return display_by(_colours(parts), orientation=_orientation(parts), notes=notes)

    def load_prepare(self) -> None:
        """Called by Pillow before it decodes: lays noise where the last row comes, so that it shows when none does."""
        canvas = Image.new(self.mode, self.size)
        canvas.paste(_noise(self.mode, self.width), (0, self.height - 1))
        self.im = canvas.im
        super().load_prepare()

    def pixels(self) -> Image.Image:
        """All pixels, their checksums verified; with alpha where a colour was declared transparent.

        Raises `StageError` (`image.corrupt`), and what Pillow raises.
        """
        _verify(self.parts.pixels)
        self.load()
        _check_full(self, self.parts)
        return _with_key(self, self.parts)


def _chunks(content: bytes) -> Iterator[Chunk]:
    """The chunks up to IEND, or up to where there are none any more."""
    view, at = memoryview(content), len(_SIGNATURE)
    while at + 8 <= len(content):
        kind, start = content[at + 4 : at + 8], at + 8
        if not kind.isalpha():
            return
        end = start + int.from_bytes(content[at : at + 4])
        checksum = int.from_bytes(content[end : end + 4]) if end + 4 <= len(content) else None
        yield Chunk(kind=kind, content=view[start:end], checksum=checksum)
        if kind == b"IEND":
            return
        at = end + 4


def _taken_apart(chunks: Sequence[Chunk]) -> Parts:
    for chunk in chunks:
        if chunk.is_critical and chunk.kind not in _CRITICAL:
            _verify([chunk])
            raise _unsupported(f"the critical chunk {chunk.kind.decode()}")
    header = _header(chunks)
    before = [*takewhile(lambda chunk: chunk.kind != b"IDAT", chunks)]
    behind = [chunk for chunk in chunks[len(before) :] if chunk.kind in _COUNT_ANYWHERE]
    return Parts(
        header=header,
        palette=_palette(header, [chunk for chunk in before if chunk.kind == b"PLTE"]),
        pixels=tuple(chunk for chunk in chunks if chunk.kind == b"IDAT"),
        tags=tuple(chunk for chunk in (*before, *behind) if not chunk.is_critical),
    )


def _header(chunks: Sequence[Chunk]) -> PngHeader:
    if not chunks or chunks[0].kind != b"IHDR" or chunks[0].checksum is None or len(chunks[0].content) != 13:
        raise SyntaxError("IHDR is not there")  # what Pillow raises: cut short, or corrupt
    _verify(chunks[:1])
    if any(chunk.kind == b"IHDR" for chunk in chunks[1:]):
        raise _damaged("it has two headers")
    width, height, depth, colour_type, *methods = struct.unpack(">LLBBBBB", chunks[0].content)
    if methods not in ([0, 0, 0], [0, 0, 1]):
        raise _unsupported("a compression, filter or interlace method that PNG does not have")
    if colour_type not in _CHANNELS or depth not in _DEPTHS.get(colour_type, _DEPTHS_OF_OTHERS):
        raise _damaged(f"colour type {colour_type} with {depth} bits does not exist")
    return PngHeader(width=width, height=height, depth=depth, colour_type=colour_type, is_interlaced=bool(methods[2]))


def _palette(header: PngHeader, chunks: Sequence[Chunk]) -> bytes:
    _verify(chunks)
    if header.colour_type != PALETTE:
        return b""
    if len(chunks) != 1 or len(chunks[0].content) % 3 or not 3 <= len(chunks[0].content) <= 3 * 256:
        raise _damaged("it has no valid palette")
    return bytes(chunks[0].content[: 3 << header.depth])


def _put_together(parts: Parts) -> bytes:
    """The file that Pillow gets to see. It is one copy of the compressed pixels, 0.1 ms for a megabyte."""
    header, pixels = parts.header, [chunk.content for chunk in parts.pixels]
    size, methods = (header.width, header.height), (0, 0, header.is_interlaced)
    made: list[bytes | memoryview] = [_SIGNATURE]
    made.append(_chunk(b"IHDR", struct.pack(">LLBBBBB", *size, header.depth, header.colour_type, *methods)))
    if parts.palette:
        made.append(_chunk(b"PLTE", parts.palette.ljust(3 << header.depth, b"\x00")))
    if parts.alphas:
        made.append(_chunk(b"tRNS", parts.alphas))
    if pixels:
        made += [struct.pack(">L4s", sum(map(len, pixels)), b"IDAT"), *pixels, bytes(4)]  # not checked
    return b"".join((*made, _chunk(b"IEND", b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L4s", len(content), kind) + content + struct.pack(">L", zlib.crc32(kind + content))


def _verify(chunks: Iterable[Chunk]) -> None:
    """What is damaged is corrupt; what is cut off is left to the decoder, which may have enough without it."""
    for chunk in chunks:
        if chunk.checksum is not None and not chunk.is_sound:
            raise _damaged(f"the checksum of {chunk.kind.decode()} does not match")


def _check_full(image: Image.Image, parts: Parts) -> None:
    """Pillow takes a stream that ends between two rows for a whole one, and leaves the rest as it was.

    Rows come one after the other: where the last one is no longer noise, all are there. Else their bytes are counted.
    """
    last_row = image.crop((0, image.height - 1, image.width, image.height))
    if not parts.header.is_interlaced and last_row.tobytes() != _noise(image.mode, image.width).tobytes():
        return
    needed, found = parts.header.pixel_bytes, 0
    inflater = zlib.decompressobj()
    for chunk in parts.pixels:
        for start in range(0, len(chunk.content), _BLOCK_BYTES):
            block: bytes | memoryview = chunk.content[start : start + _BLOCK_BYTES]
            while block and found < needed:
                found += len(inflater.decompress(block, _BLOCK_BYTES))
                block = inflater.unconsumed_tail
    if found < needed:
        raise _damaged(f"its pixel data ends early, {found} of {needed} bytes")


def _noise(mode: str, width: int) -> Image.Image:
    """A row of pixels, always the same."""
    size_bytes = len(Image.new(mode, (width, 1)).tobytes())
    return Image.frombytes(mode, (width, 1), hashlib.shake_128(mode.encode()).digest(size_bytes))


def _with_key(image: PngImageFile, parts: Parts) -> Image.Image:
    """The picture, its transparent colour found at full depth. What Pillow can do with 8 bits is left to `modes`."""
    header, key = parts.header, parts.key
    if header.colour_type == GREY_ALPHA and image.mode != "LA":
        return image.convert("LA")  # Pillow makes RGBA of 16 bits
    if key and header.depth < 16:
        levels = tuple(sample * 255 // ((1 << header.depth) - 1) for sample in key)
        image.info["transparency"] = levels if header.colour_type == COLOUR else levels[0]
    elif key:
        high, low = to_working_mode(image), _low_bytes(image, parts)
        wanted = [*(sample >> 8 for sample in key), *(sample & 0xFF for sample in key)]
        differing = [
            band.point([int(level != one and 255) for level in range(256)])
            for band, one in zip((*high.split(), *low.split()), wanted, strict=True)
        ]
        high.putalpha(reduce(ImageChops.lighter, differing))
        return high
    return image


def _low_bytes(image: PngImageFile, parts: Parts) -> Image.Image:
    """The lower halves of samples of 16 bits. Pillow drops those of colours: they are decoded a second time."""
    if image.mode == "I;16":
        return Image.frombytes("L", image.size, image.tobytes()[::2])
    again = PngImageFile(BytesIO(_put_together(parts)))
    again.tile = [tile._replace(args="RGB;16L") for tile in again.tile]  # takes the first byte for the lower one
    again.load()
    return again


def _spoilt(parts: Parts) -> list[bytes]:
    """The kinds of which there is none that is sound."""
    found = {chunk.kind for chunk in parts.tags}
    return [kind for kind in _LOOK if kind in found and parts.tag(kind) is None]


def _has_useless_key(parts: Parts) -> bool:
    takes_one = parts.header.colour_type in (GREY, COLOUR, PALETTE)
    return takes_one and parts.tag(b"tRNS") is not None and not parts.key and not parts.alphas


def _colours(parts: Parts) -> Iterator[Declared | str]:
    """What is said of the colours, the strongest first, or why it is of no use."""
    if (cicp := parts.tag(b"cICP")) is not None and cicp[:2] != bytes((UNSPECIFIED, UNSPECIFIED)):
        yield _code_points(cicp)
    if (packed := parts.tag(b"iCCP")) is not None:
        yield _profile(packed)
    if parts.tag(b"sRGB") is not None:
        yield Space(name="sRGB")
        return
    yield from _numbers(parts.tag(b"gAMA"), parts.tag(b"cHRM"))


def _code_points(cicp: bytes) -> Space | str:
    if len(cicp) != 4 or cicp[2] != 0 or cicp[3] > 1:
        return "cICP ignored: malformed"
    space = named_space("cICP", cicp[0], cicp[1], is_narrow=not cicp[3])
    return space or f"cICP ignored: no colours are known by {cicp[0]}, {cicp[1]}"


def _profile(packed: bytes) -> bytes | str:
    """The profile behind its name and method, unpacked no further than any profile may be long."""
    _name, _, rest = packed.partition(b"\x00")
    try:
        profile = _inflated(rest[1:], PROFILE_LIMIT_BYTES + 1)
    except zlib.error:
        profile = b""
    if not profile or rest[0]:
        return "icc profile dropped: corrupt"
    if len(profile) > PROFILE_LIMIT_BYTES:
        return f"icc profile dropped: more than {PROFILE_LIMIT_BYTES} bytes"
    return profile


def _numbers(gama: bytes | None, chrm: bytes | None) -> Iterator[Space | str]:
    """A space of gamma and chromaticities; where one of the two is missing, sRGB's stands in for it."""
    gamma, primaries, means = 1 / SRGB_GAMMA, SRGB_PRIMARIES, []
    if gama is not None:
        gamma = int.from_bytes(gama) / 100_000 if len(gama) == 4 else 0.0
        means.append("gAMA")
        if not _GAMMAS[0] <= gamma <= _GAMMAS[1]:
            yield "gAMA ignored: malformed"
            gamma = 1 / SRGB_GAMMA
            means.clear()
    if chrm is not None and len(chrm) != 32:
        yield "cHRM ignored: malformed"
    elif chrm is not None:
        x = [value / 100_000 for value in struct.unpack(">8L", chrm)]
        primaries = (x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7])
        means.append("cHRM")
    if means:
        yield space_of_gamma(" and ".join(means), primaries, 1 / gamma)


def _orientation(parts: Parts) -> int:
    exif = parts.tag(b"eXIf")
    if exif is not None:
        return read_orientation(exif)
    for chunk in parts.tags:
        if bytes(chunk.content[: len(_HIDDEN_EXIF) + 1]) == _HIDDEN_EXIF + b"\x00" and chunk.is_sound:
            text = _text(chunk.kind, bytes(chunk.content[len(_HIDDEN_EXIF) + 1 :]))
            return read_hidden_orientation(text)
    return UPRIGHT


def _text(kind: bytes, content: bytes) -> str:
    """The beginning of a text chunk's text; of an international one nothing, as ImageMagick does not use it here."""
    try:
        text = _inflated(content[1:], _HIDDEN_EXIF_BYTES) if kind == b"zTXt" else content
    except zlib.error:
        text = b""
    return text[:_HIDDEN_EXIF_BYTES].decode("latin-1")


def _inflated(packed: bytes, limit: int) -> bytes:
    return zlib.decompressobj().decompress(packed, limit)


def _damaged(what: str) -> StageError:
    return StageError(Code.IMAGE_CORRUPT, f"the png image is damaged: {what}")


def _unsupported(what: str) -> StageError:
    return StageError(Code.IMAGE_UNSUPPORTED, f"png with {what}")
