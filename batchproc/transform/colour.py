"""Pictures are brought to sRGB by what their files say about colours, or left alone where they are in it already.

| format | what is believed, the first that is there and usable |
|---|---|
| PNG | cICP, iCCP, sRGB, gAMA and cHRM (PNG, third edition, section 12.1); a gamma of 1/2.2 is taken for sRGB's curve |
| AVIF | ICC profile, nclx |
| JPEG, WebP, TIFF | ICC profile |

Perceptual intent, as the profile's maker meant it. A profile that is corrupt, absurdly large, or made for another kind
of pixels is dropped with a note: metadata never fails an image. A conversion that no ICC profile asked for is noted
too. Building a transform takes about 2 ms and applying it 12 ms per megapixel, so each worker keeps the last ones. Not
shared between workers.

Of colour spaces that a file names by code points or by numbers an ICC profile is made, as Pillow needs one. The points
are those of ITU-T H.273 (CICP), as they stand in PNG's cICP and in AVIF's nclx. The curves of cameras (BT.709, BT.601,
BT.2020 and their kin) are taken for sRGB's, which is how such images are shown on screens that are not televisions. Of
HDR images (PQ, HLG) what is brighter than white paper, 203 cd/m² (ITU-R BT.2408), is clipped; HLG is rendered channel
by channel, as on a screen of 1000 cd/m².

The profile made is the smallest version 4 display profile: a matrix of three colorants and one curve (ICC.1:2022,
sections 7.2, 8.4, 9.2). The curve is a table of 256 levels, exact wherever an 8-bit pixel asks.
"""

import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from io import BytesIO
from typing import TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from PIL import Image, ImageChops, ImageCms

from batchproc.transform.modes import on_colours

Primaries: TypeAlias = tuple[float, float, float, float, float, float, float, float]  # x, y of white, red, green, blue
_Matrix: TypeAlias = tuple[tuple[float, ...], ...]

_D50 = (0.9642, 1.0, 0.8249)  # the white of the profile connection space (ICC.1, section 7.2.16)
_BRADFORD: _Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))  # ICC.1, annex E
_LARGEST = 8.0  # a colorant beyond is no colour; far inside of what s15Fixed16Number holds


def icc_profile(primaries: Primaries, curve: Sequence[float]) -> bytes:
    """The profile of RGB pixels; `curve` is light, 0 to 1, at even steps. Raises ValueError: there is no such space."""
    matrix = _colorants(primaries)
    if any(abs(value) > _LARGEST for row in matrix for value in row):
        raise ValueError("colorants out of range")
    colorants = zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(_xyz, zip(*matrix, strict=True)), strict=True)
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve))
    return _profile({b"wtpt": _xyz(_D50), **dict(colorants), **curves})


def _profile(tags: dict[bytes, bytes]) -> bytes:
    table, body, at = [struct.pack(">L", len(tags))], [], 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table.append(struct.pack(">4sLL", name, at, len(value)))
        body.append(value)
        at += len(value)
    header = struct.pack(
        ">L4xL4s4s4s12x4s28x3L48x", at, 0x04400000, b"mntr", b"RGB ", b"XYZ ", b"acsp", *map(_fixed, _D50)
    )
    return b"".join((header, *table, *body))


def _colorants(primaries: Primaries) -> _Matrix:
    """Linear RGB to XYZ, adapted to D50: the columns are what red, green and blue at their fullest look like."""
    white, *rgb = (_lifted(*primaries[at : at + 2]) for at in (0, 2, 4, 6))
    if min(_times(_BRADFORD, white)) <= 0 or white[1] <= 0:
        raise ValueError("no white point")
    white = tuple(value / white[1] for value in white)
    columns = tuple(zip(*rgb, strict=True))
    scales = _times(_inverse(columns), white)
    matrix = tuple(tuple(value * scale for value, scale in zip(row, scales, strict=True)) for row in columns)
    gains = [to / of for to, of in zip(_times(_BRADFORD, _D50), _times(_BRADFORD, white), strict=True)]
    scaled = tuple(tuple(value * gain for value in row) for row, gain in zip(_BRADFORD, gains, strict=True))
    return _product(_inverse(_BRADFORD), _product(scaled, matrix))


def _lifted(x: float, y: float) -> tuple[float, ...]:
    return x, y, 1 - x - y


def _inverse(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if abs(determinant) < 1e-6:
        raise ValueError("the primaries lie on a line")
    adjugate = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    return tuple(tuple(value / determinant for value in row) for row in adjugate)


def _times(matrix: _Matrix, vector: Sequence[float]) -> tuple[float, ...]:
    return tuple(sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)


def _product(one: _Matrix, other: _Matrix) -> _Matrix:
    columns = tuple(zip(*other, strict=True))
    return tuple(_times(columns, row) for row in one)


def _fixed(value: float) -> int:
    """An s15Fixed16Number as the bits of an unsigned one."""
    return round(value * 65536) & 0xFFFFFFFF


def _xyz(values: Sequence[float]) -> bytes:
    return struct.pack(">4s4x3L", b"XYZ ", *map(_fixed, values))


def _curve(light: Sequence[float]) -> bytes:
    levels = [round(min(1.0, max(0.0, value)) * 65535) for value in light]
    packed = struct.pack(f">4s4xL{len(levels)}H", b"curv", len(levels), *levels)
    return packed + b"\x00" * (-len(packed) % 4)


UNSPECIFIED = 2
SRGB_CURVE = 13
GAMMA_CURVE = 0  # no code point: `Space.gamma` says which
SRGB_GAMMA = 2.2
_GAMMA_WITHIN = 0.011  # of it, in relation: 1 / 0.45, 1 / 0.4545 and 2.2 all mean sRGB
_PAPER_WHITE = 203.0  # cd/m²
_HLG_PEAK = 1000.0  # cd/m²
_LEVELS = 255

D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
SRGB_PRIMARIES: Primaries = (*D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_PRIMARIES: dict[int, tuple[str, Primaries]] = {  # H.273, table 2
    1: ("BT.709", SRGB_PRIMARIES),
    4: ("BT.470 M", (*_C, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08)),
    5: ("BT.470 BG", (*D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06)),
    6: ("BT.601", (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    7: ("SMPTE 240M", (*D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070)),
    8: ("film", (*_C, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049)),
    9: ("BT.2020", (*D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)),
    10: ("XYZ", (1 / 3, 1 / 3, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)),
    11: ("DCI P3", (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    12: ("Display P3", (*D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)),
    22: ("EBU 3213", (*D65, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077)),
}


class Space(Struct, frozen=True, kw_only=True):
    """A colour space: `name` for notes, where its colorants lie, and how signals become light."""

    name: str
    primaries: Primaries = SRGB_PRIMARIES
    transfer: int = SRGB_CURVE  # H.273, table 3, or GAMMA_CURVE
    gamma: float = 1.0  # light = signal ** gamma
    is_narrow: bool = False  # black is 16 and white is 235 of 255

    @property
    def is_srgb(self) -> bool:
        """Whether there is nothing to convert."""
        return (self.primaries, self.transfer, self.is_narrow) == (SRGB_PRIMARIES, SRGB_CURVE, False)

    def profile(self) -> bytes:
        """The ICC profile for RGB pixels. Raises ValueError: the primaries span no colours."""
        return icc_profile(self.primaries, self._curve())

    def grey_levels(self) -> tuple[int, ...]:
        """What becomes of each grey level in sRGB."""
        return tuple(round(_LEVELS * _srgb_signal(light)) for light in self._curve())

    def _curve(self) -> list[float]:
        """The light, 0 to 1 or more, of each level."""
        signals = [level / _LEVELS for level in range(_LEVELS + 1)]
        if self.is_narrow:
            signals = [min(1.0, max(0.0, (signal * _LEVELS - 16) / 219)) for signal in signals]
        curve = _power(self.gamma) if self.transfer == GAMMA_CURVE else _CURVES[self.transfer][0]
        return [curve(signal) for signal in signals]


def space_of_gamma(name: str, primaries: Primaries, gamma: float) -> Space:
    """The space of primaries and one gamma; that of sRGB stands for sRGB's curve."""
    is_srgb = abs(SRGB_GAMMA / gamma - 1) <= _GAMMA_WITHIN
    transfer, gamma = (SRGB_CURVE, 1.0) if is_srgb else (GAMMA_CURVE, gamma)
    return Space(name=name, primaries=primaries, transfer=transfer, gamma=gamma)


def named_space(means: str, primaries: int, transfer: int, *, is_narrow: bool = False) -> Space | None:
    """The space of two code points, sRGB standing in for one that is unspecified; None when neither says anything."""
    if primaries == transfer == UNSPECIFIED:
        return None
    found = _PRIMARIES.get(1 if primaries == UNSPECIFIED else primaries)
    transfer = SRGB_CURVE if transfer == UNSPECIFIED else transfer
    if found is None or transfer not in _CURVES:
        return None
    word, chromaticities = found
    name = f"{word}{_CURVES[transfer][1]}{', narrow range' if is_narrow else ''} ({means}){_CLIPPED.get(transfer, '')}"
    return Space(name=name, primaries=chromaticities, transfer=transfer, is_narrow=is_narrow)


def _srgb(signal: float) -> float:
    """IEC 61966-2-1."""
    return signal / 12.92 if signal <= 0.04045 else ((signal + 0.055) / 1.055) ** 2.4


def _srgb_signal(light: float) -> float:
    """The inverse of `_srgb`, clipped."""
    light = min(1.0, light)
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _power(exponent: float) -> Callable[[float], float]:
    return lambda signal: signal**exponent


def _logarithmic(decades: float) -> Callable[[float], float]:
    return lambda signal: 10 ** ((signal - 1) * decades) if signal > 0 else 0.0


def _pq(signal: float) -> float:
    """SMPTE ST 2084, paper white as 1."""
    root = signal ** (32 / 2523)
    light = max(0.0, root - 107 / 128) / (2413 / 128 - 2392 / 128 * root)
    return 10_000 * float(light ** (8192 / 1305)) / _PAPER_WHITE


def _hlg(signal: float) -> float:
    """ARIB STD-B67 on a screen of 1000 cd/m² (system gamma 1.2), paper white as 1."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = signal * signal / 3 if signal <= 0.5 else (math.exp((signal - c) / a) + b) / 12
    return _HLG_PEAK * float(scene**1.2) / _PAPER_WHITE


_CURVES: dict[int, tuple[Callable[[float], float], str]] = {  # H.273, table 3; with what a note says of it
    **dict.fromkeys((1, 6, 7, 11, 12, SRGB_CURVE, 14, 15), (_srgb, "")),
    4: (_power(2.2), " with gamma 2.2"),
    5: (_power(2.8), " with gamma 2.8"),
    8: (_power(1.0), " with linear light"),
    9: (_logarithmic(2.0), " with a logarithmic curve"),
    10: (_logarithmic(2.5), " with a logarithmic curve"),
    16: (_pq, " with PQ"),
    17: (_power(2.6), " with gamma 2.6"),
    18: (_hlg, " with HLG"),
}
_CLIPPED = dict.fromkeys((16, 18), f": brighter than {_PAPER_WHITE:.0f} cd/m² is clipped")


Declared: TypeAlias = bytes | Space  # an ICC profile, or a space named by other means

PROFILE_LIMIT_BYTES = 3 << 20  # press profiles reach about 2.5 MB
_PLANS_KEPT = 16
_SAME_WITHIN = 2  # levels of 255 by which a profile may differ from sRGB and still be taken for it
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC colour space (ICC.1, table 19) -> Pillow mode


class Plan(Struct, frozen=True, kw_only=True):
    """What to do about one declaration: apply `transform` or `levels`, or nothing; `note` says what is news in it."""

    mode: str = ""  # of the pixels that it is for
    transform: ImageCms.ImageCmsTransform | None = None
    levels: tuple[int, ...] = ()
    is_dropped: bool = False
    note: str = ""


class Colours:
    """Brings pictures to sRGB. One per worker, used by that worker alone."""

    def __init__(self) -> None:
        self._plan: Callable[[Declared, str], Plan] = lru_cache(maxsize=_PLANS_KEPT)(plan)

    def to_srgb(self, image: Image.Image, declared: Sequence[Declared]) -> tuple[Image.Image, tuple[str, ...]]:
        """The picture in sRGB by the first usable of `declared`, and notes, usually none.

        `image` is L, LA, RGB, RGBA or CMYK; CMYK may stay CMYK.
        """
        notes: tuple[str, ...] = ()
        for one in declared:
            made = self._plan_for(one, image.mode.removesuffix("A"))
            notes += (made.note,) if made.note else ()
            if not made.is_dropped:
                return _applied(image, made), notes
        return image, notes

    def _plan_for(self, declared: Declared, mode: str) -> Plan:
        if isinstance(declared, Space):
            return self._plan(declared, mode)
        if len(declared) > PROFILE_LIMIT_BYTES:
            return _dropped(f"icc profile dropped: {len(declared)} bytes")
        made = self._plan(declared, "")
        if made.transform is not None and made.mode != mode:
            return _dropped(f"icc profile dropped: made for {made.mode} pixels, these are {mode}")
        return made


def plan(declared: Declared, mode: str) -> Plan:
    """Decides about one declaration, `mode` being that of the pixels; an ICC profile says that itself."""
    return _plan_space(declared, mode) if isinstance(declared, Space) else _plan_profile(declared)


def _plan_space(space: Space, mode: str) -> Plan:
    """Grey pixels go through a table, others through an ICC profile that is made here."""
    note = f"colours converted from {space.name}"
    if space.is_srgb:
        return Plan()
    if mode == "L":
        levels = space.grey_levels()
        differs = any(abs(to - of) > _SAME_WITHIN for of, to in enumerate(levels))
        return Plan(mode=mode, levels=levels, note=note) if differs else Plan()
    if mode != "RGB":
        return _dropped(f"{space.name} ignored: these are {mode} pixels")
    try:
        made = _plan_profile(space.profile())
    except ValueError:
        return _dropped(f"{space.name} ignored: it spans no colours")
    return made if made.transform is None else replace(made, note=note)


def _plan_profile(profile: bytes) -> Plan:
    """Reads a profile and decides. Builds its transform to sRGB and tries it on swatches."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        mode = _SPACES.get(source.profile.xcolor_space.strip(), "")
        if not mode:
            return _dropped(f"icc profile dropped: colour space {source.profile.xcolor_space.strip()}")
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        swatches = _swatches(mode)
        seen = transform.apply(swatches)
    except (OSError, ImageCms.PyCMSError, ValueError, TypeError):
        return _dropped("icc profile dropped: corrupt")
    return Plan() if mode != "CMYK" and _same(seen, swatches.convert("RGB")) else Plan(mode=mode, transform=transform)


def _dropped(note: str) -> Plan:
    return Plan(is_dropped=True, note=note)


def _applied(image: Image.Image, made: Plan) -> Image.Image:
    """The plan on the colours; alpha as it was; grey stays grey."""
    if made.transform is None and not made.levels:
        return image
    return on_colours(image, partial(_converted, made))


def _converted(made: Plan, image: Image.Image) -> Image.Image:
    if made.transform is None:
        return image.point(made.levels)
    done = made.transform.apply(image)
    return done.convert("L") if image.mode == "L" else done


def _swatches(mode: str) -> Image.Image:
    """Pixels all over the mode's cube, 17 levels per channel."""
    if mode == "L":
        return Image.linear_gradient("L")
    levels = [min(255, 16 * step) for step in range(17)]
    swatches = Image.new(mode, (17, 17 * 17))
    black = (0,) if mode == "CMYK" else ()
    swatches.putdata([(*triple, *black) for triple in ((r, g, b) for r in levels for g in levels for b in levels)])
    return swatches


def _same(one: Image.Image, other: Image.Image) -> bool:
    histogram = ImageChops.difference(one, other).histogram()
    return not any(count for at, count in enumerate(histogram) if at % 256 > _SAME_WITHIN)
