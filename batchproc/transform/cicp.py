"""Colour spaces that a file names by code points or by numbers, without an ICC profile.

The code points are those of ITU-T H.273 (CICP), as they stand in PNG's cICP and in AVIF's nclx. The curves of cameras
(BT.709, BT.601, BT.2020 and their kin) are taken for sRGB's, which is how such pictures are shown on screens that are
not televisions. Of HDR pictures (PQ, HLG) what is brighter than white paper, 203 cd/m² (ITU-R BT.2408), is clipped; HLG
is rendered channel by channel, as on a screen of 1000 cd/m².
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from batchproc.transform.icc import Primaries, icc_profile

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
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
        curve = _power(self.gamma) if self.transfer == GAMMA_CURVE else _CURVES[self.transfer]
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
    curve, remark = _NAMES.get(transfer, ("", ""))
    name = f"{word}{curve}{', narrow range' if is_narrow else ''} ({means}){remark}"
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


_CURVES: dict[int, Callable[[float], float]] = {  # H.273, table 3
    **dict.fromkeys((1, 6, 7, 11, 12, SRGB_CURVE, 14, 15), _srgb),
    4: _power(2.2),
    5: _power(2.8),
    8: _power(1.0),
    9: _logarithmic(2.0),
    10: _logarithmic(2.5),
    16: _pq,
    17: _power(2.6),
    18: _hlg,
}

_CLIPPED = f": brighter than {_PAPER_WHITE:.0f} cd/m² is clipped"
_NAMES = {  # of curves that are not sRGB's or taken for it, and what a note adds
    4: (" with gamma 2.2", ""),
    5: (" with gamma 2.8", ""),
    8: (" with linear light", ""),
    9: (" with a logarithmic curve", ""),
    10: (" with a logarithmic curve", ""),
    16: (" with PQ", _CLIPPED),
    17: (" with gamma 2.6", ""),
    18: (" with HLG", _CLIPPED),
}
