"""What the ancillary chunks of a PNG say about how it is meant to be seen: orientation and colours.

Source: PNG, third edition (W3C), section 11.3. EXIF is also looked for in the text chunk where ImageMagick hides it.
"""

import struct
import zlib
from collections.abc import Iterator

from batchproc.transform.colour import PROFILE_LIMIT_BYTES, Declared
from batchproc.transform.colour_space import SRGB_GAMMA, SRGB_PRIMARIES, UNSPECIFIED, Space, named_space, space_of_gamma
from batchproc.transform.display import UPRIGHT, Display, read_hidden_orientation, read_orientation
from batchproc.transform.png import COLOUR, GREY, PALETTE, Parts

_LOOK = (b"tRNS", b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"eXIf")  # the chunks that change what is seen
_HIDDEN_EXIF = b"Raw profile type exif"
_HIDDEN_EXIF_BYTES = 1 << 16  # the orientation stands at the beginning
_GAMMAS = (0.1, 10.0)  # beyond it is no gamma


def display_of_png(parts: Parts) -> Display:
    """The display; a chunk that is of no use leaves a note when it would have changed what is seen."""
    notes = [f"{kind.decode()} ignored: its checksum does not match" for kind in _spoilt(parts)]
    if _has_useless_key(parts):
        notes.append("tRNS ignored: malformed")
    colours = []
    for declared in _colours(parts):
        if isinstance(declared, str):
            notes.append(declared)
        else:
            colours.append(declared)
    return Display(orientation=_orientation(parts), colours=tuple(colours), notes=tuple(notes))


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
