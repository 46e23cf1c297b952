"""TIFF: which samples have a meaning here: colours, depths, sample formats, alpha, planes.

| colours (photometric interpretation) | bits per sample | more samples |
|---|---|---|
| grey, black or white at zero | 1, 2, 4, 8, 16; 32 and float 32 with black at zero and no alpha | alpha, unspecified |
| RGB | 8, 16; in separate planes 1, 2, 4 too | alpha, unspecified |
| palette | 1, 2, 4, 8 | alpha that is not associated, unspecified |
| CMYK (InkSet 1, DotRange full) | 8, 16; in separate planes 1, 2, 4 too | unspecified |
| YCbCr, Rec. 601, full range where it is not left to libtiff | 8; in separate planes without subsampling | none |
| CIELab | 8 | unspecified |

Of 8 bits one plane holds at most six samples, of 16 at most four, of fewer or more bits one.

Anything else is `image.unsupported`. Samples are unsigned integers, where it does not say otherwise. Samples that are
more than the colours need and that no tag speaks of: the fourth of RGB is alpha, others are unsupported.

Source: TIFF 6.0, part 3.
"""

from dataclasses import dataclass

from batchproc.errors import Code, StageError
from batchproc.transform.tiff_directory import Directory, Number, corrupt

BITS, PHOTOMETRIC, SAMPLES, PLANAR = 258, 262, 277, 284
INK_SET, DOT_RANGE, EXTRA_SAMPLES, SAMPLE_FORMAT = 332, 336, 338, 339
COEFFICIENTS, SUBSAMPLING, REFERENCE_LEVELS = 529, 530, 532

WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR, CIELAB = 0, 1, 2, 3, 5, 6, 8
_COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3}
_NAMES = {
    WHITE_IS_ZERO: "grey with white at zero",
    GREY: "grey",
    RGB: "RGB",
    PALETTE: "a palette",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    CIELAB: "CIELab",
}
_OTHER_COLOURS = {
    4: "a transparency mask",
    9: "ICCLab colours",
    10: "ITULab colours",
    32803: "the colour filter array of a camera",
    32844: "LogL samples",
    32845: "LogLuv colours",
    34892: "raw samples of a camera",
    51177: "a depth map",
}

OLD_JPEG, JPEG = 6, 7  # compressions that know of colours

UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
_FORMATS = {SIGNED: "signed", FLOAT: "float", 5: "complex", 6: "complex"}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_CORELS_ALPHA = 999  # Corel Draw 10

_DEPTHS = {
    WHITE_IS_ZERO: (1, 2, 4, 8, 16),
    GREY: (1, 2, 4, 8, 16),
    RGB: (1, 2, 4, 8, 16),
    PALETTE: (1, 2, 4, 8),
    CMYK: (1, 2, 4, 8, 16),
    YCBCR: (8,),
    CIELAB: (8,),
}
_MOST_TOGETHER = {8: 6, 16: 4}  # samples in one plane; of other depths one
_LAST_CARRIED = 3  # alpha is found in the first four samples, or in a plane of its own
_SUBSAMPLINGS = ((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4))
REC_601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0, 255, 128, 255, 128, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSamples:
    """What is stored of a pixel, and what it means."""

    colours: int  # photometric interpretation
    count: int
    bits: int
    format: int
    alpha: int | None  # which one is alpha
    is_associated: bool  # whether the colours are multiplied by alpha
    is_planar: bool
    subsampling: tuple[int, ...]  # of the chroma of YCbCr; JPEG data say it themselves

    @property
    def name(self) -> str:
        """The colours, for a message."""
        return _NAMES[self.colours]

    @property
    def colour_count(self) -> int:
        """How many make the colour; they come first."""
        return _COLOUR_SAMPLES[self.colours]

    @property
    def together(self) -> int:
        """How many of a pixel are stored in one plane."""
        return 1 if self.is_planar else self.count

    def bytes_of(self, width: int, rows: int) -> int:
        """The length of so many rows of a plane before compression."""
        if self.colours == YCBCR and not self.is_planar:
            across, down = self.subsampling
            return -(-width // across) * -(-rows // down) * (across * down + 2)
        return rows * ((width * self.together * self.bits + 7) // 8)


def unsupported(what: str) -> StageError:
    """The failure of a picture that has no row in the table."""
    return StageError(Code.IMAGE_UNSUPPORTED, f"tiff with {what}")


def samples_of(directory: Directory, compression: int) -> PixelSamples:
    """Reads and judges what the samples are. Raises `StageError`: image.unsupported, truncated, image.corrupt."""
    samples = _samples(directory, compression)
    _check_depth(samples)
    _check_inks(directory, samples)
    _check_ycbcr(directory, samples, compression)
    return samples


def _samples(directory: Directory, compression: int) -> PixelSamples:
    colours = directory.whole_number(PHOTOMETRIC, YCBCR if compression == OLD_JPEG else WHITE_IS_ZERO)
    if colours not in _COLOUR_SAMPLES:
        raise unsupported(_OTHER_COLOURS.get(colours, f"unknown colours (photometric interpretation {colours})"))
    count = directory.whole_number(SAMPLES, 1)
    if count < _COLOUR_SAMPLES[colours]:
        raise corrupt(f"{count} samples per pixel, its colours need {_COLOUR_SAMPLES[colours]}")
    alpha, is_associated = _alpha(directory, colours, count)
    return PixelSamples(
        colours=colours,
        count=count,
        bits=_same_for_all(directory.whole_numbers(BITS, (1,))[:count], "bits per sample"),
        format=_same_for_all(directory.whole_numbers(SAMPLE_FORMAT, (UNSIGNED,))[:count], "sample formats"),
        alpha=alpha,
        is_associated=is_associated,
        is_planar=count > 1 and directory.whole_number(PLANAR, 1) == 2,
        subsampling=_subsampling(directory) if colours == YCBCR and compression not in (JPEG, OLD_JPEG) else (1, 1),
    )


def _same_for_all(values: tuple[int, ...], what: str) -> int:
    """The value of all samples, however often it is told."""
    if len(set(values)) > 1:
        raise unsupported(f"{what} of {', '.join(map(str, values))}")
    return values[0]


def _alpha(directory: Directory, colours: int, count: int) -> tuple[int | None, bool]:
    """Which sample is alpha, and whether it is associated. The first counts."""
    first = _COLOUR_SAMPLES[colours]
    extra = directory.whole_numbers(EXTRA_SAMPLES)[: count - first]
    if not extra and (colours, count) == (RGB, 4):
        extra = (_UNASSOCIATED,)
    if len(extra) < count - first:
        raise unsupported(f"{count} samples per pixel, of which {count - first - len(extra)} are not explained")
    found = [(at, kind) for at, kind in enumerate(extra, first) if kind in (_ASSOCIATED, _UNASSOCIATED, _CORELS_ALPHA)]
    if not found:
        return None, False
    if colours not in (WHITE_IS_ZERO, GREY, RGB, PALETTE):
        raise unsupported(f"alpha beside {_NAMES[colours]}")
    is_associated = found[0][1] == _ASSOCIATED
    if found[0][0] > _LAST_CARRIED and directory.whole_number(PLANAR, 1) != 2:
        raise unsupported(f"alpha behind {found[0][0]} other samples")
    if is_associated and colours in (WHITE_IS_ZERO, PALETTE):
        raise unsupported(f"{_NAMES[colours]} multiplied by alpha")
    return found[0][0], is_associated


def _subsampling(directory: Directory) -> tuple[int, ...]:
    found = directory.whole_numbers(SUBSAMPLING, (2, 2))
    if found not in _SUBSAMPLINGS:
        raise unsupported(f"YCbCr subsampling {found}")
    return found


def _check_depth(samples: PixelSamples) -> None:
    bits, colours, is_grey = samples.bits, samples.colours, samples.colours == GREY and samples.alpha is None
    if samples.format not in (UNSIGNED, UNDEFINED):
        is_known = is_grey and bits == 32 and samples.format in (SIGNED, FLOAT)
    else:
        is_known = bits in _DEPTHS[colours] or (is_grey and bits == 32)
        is_known &= not (colours == PALETTE and samples.alpha is not None and bits < 8)
    if not is_known:
        kind = f"{_FORMATS.get(samples.format, 'unsigned')} samples" if samples.format != UNDEFINED else "samples"
        raise unsupported(f"{_NAMES[colours]} in {kind} of {bits} bits")
    if samples.together > _MOST_TOGETHER.get(bits, 1):
        raise unsupported(f"{samples.together} samples of {bits} bits in one plane")


def _check_inks(directory: Directory, samples: PixelSamples) -> None:
    if samples.colours != CMYK:
        return
    full = (1 << samples.bits) - 1
    if directory.whole_number(INK_SET, 1) != 1:
        raise unsupported("inks other than CMYK")
    if directory.whole_numbers(DOT_RANGE, (0, full))[:2] != (0, full):
        raise unsupported("a DotRange that is not the full one")


def _check_ycbcr(directory: Directory, samples: PixelSamples, compression: int) -> None:
    if samples.colours != YCBCR:
        return
    if samples.count > 3:
        raise unsupported("more samples beside YCbCr")
    if samples.is_planar and samples.subsampling != (1, 1):
        raise unsupported("subsampled YCbCr in separate planes")
    if samples.is_planar or compression == JPEG:  # else libtiff does what these two say
        coefficients = directory.numbers(COEFFICIENTS, REC_601)
        levels = directory.numbers(REFERENCE_LEVELS, FULL_RANGE)
        if not _close(coefficients, REC_601, 0.01) or not _close(levels, FULL_RANGE, 1):
            raise unsupported("YCbCr that is not that of Rec. 601 in full range")


def _close(values: tuple[Number, ...], others: tuple[Number, ...], within: float) -> bool:
    return len(values) == len(others) and all(abs(a - b) <= within for a, b in zip(values, others, strict=True))
