"""A colour space of primaries and one curve as an ICC profile, which is the only kind that Pillow can read.

The smallest version 4 display profile: a matrix of three colorants and one curve (ICC.1:2022, sections 7.2, 8.4, 9.2).
The curve is a table; with an entry for each of 256 levels it is exact wherever an 8-bit pixel asks.
"""

import struct
from collections.abc import Sequence
from typing import TypeAlias

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
