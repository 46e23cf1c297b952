"""TIFF: what its samples mean. Which are decoded stands in `tiff_samples`; how they may be stored, in `tiff_layout`.

White at zero is inverted; palettes are looked up, whose entries are of 16 bits, or of 8 where none is larger (as old
programs wrote them); of 16 bits the upper ones count; colours that are multiplied by alpha are divided by it. Of chroma
that is subsampled without JPEG the nearest sample is taken. Samples that no colour needs are passed over.
"""

import sys
from io import BytesIO

from PIL import Image, ImageChops, ImageFile

from batchproc.transform.display import Display
from batchproc.transform.orientation import UPRIGHT
from batchproc.transform.tiff_directory import Directory, corrupt, picture_directory
from batchproc.transform.tiff_layout import layout_of
from batchproc.transform.tiff_samples import (
    CIELAB,
    CMYK,
    FLOAT,
    GREY,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    Samples,
)
from batchproc.transform.tiff_source import Source

_ORIENTATION, _COLOUR_MAP, _ICC_PROFILE = 274, 320, 34675

_MODES = {WHITE_IS_ZERO: "L", GREY: "L", RGB: "RGB", PALETTE: "P", CMYK: "CMYK", YCBCR: "YCbCr", CIELAB: "LAB"}
_WITH_ALPHA = {"L": ("LA", "La"), "RGB": ("RGBA", "RGBa"), "P": ("PA", "")}  # by itself, and multiplied
_UPPER = 1 if sys.byteorder == "little" else 0  # which byte of two; libtiff hands out samples in the machine's order

# Raw modes for all samples of a pixel, where Pillow has one.
_RAW_WIDE = {
    ("L", 16): ("L;16B", "L;16")[_UPPER],
    ("RGB", 16): "RGB;16N",
    ("RGBA", 16): "RGBA;16N",
    ("CMYK", 16): "CMYK;16N",
    ("I", 32): "I;32N",
    ("F", 32): "F;32NF",
}
_PLANES = {1: ("1", "1"), 2: ("L", "L;2"), 4: ("L", "L;4"), 8: ("L", "L"), 16: ("L", _RAW_WIDE["L", 16])}
# Otherwise bands are picked: a mode with a band for each of the first four samples, by their bits and number. Two
# samples of 16 bits are four bytes.
_CARRIERS = {
    (8, 2): ("LA", "LA"),
    (8, 3): ("RGB", "RGB"),
    (8, 4): ("RGBA", "RGBA"),
    (8, 5): ("RGBA", "RGBAX"),
    (8, 6): ("RGBA", "RGBAXX"),
    (16, 2): ("RGBA", "RGBA"),
    (16, 3): ("RGB", "RGB;16N"),
    (16, 4): ("RGBA", "RGBA;16N"),
}


class TiffReader(ImageFile.ImageFile):
    """The picture of a TIFF file. Raises `StageError` when it has none that can be decoded."""

    format = "TIFF"

    def __init__(self, file: BytesIO) -> None:
        self._directory = picture_directory(file.getvalue())
        self._layout = layout_of(self._directory)
        super().__init__(file)

    def _open(self) -> None:
        self._size = self._layout.size
        self._mode = "RGB"  # Pillow asks for one; that of `pixels` counts

    @property
    def display(self) -> Display:
        """How the pixels are meant to be seen."""
        (orientation, *_) = self._directory.hints(_ORIENTATION, (UPRIGHT,))
        profile = self._directory.block(_ICC_PROFILE)
        return Display(
            orientation=orientation if 1 <= orientation <= 8 else UPRIGHT,
            colours=(profile,) if profile else (),
        )

    def pixels(self) -> Image.Image:
        """All pixels as stored, in one of the modes of the table in `modes`. Raises what Pillow raises."""
        samples, source = self._layout.samples, Source(self._directory, self._layout)
        if samples.colours == YCBCR and not samples.is_planar:
            return source.decoded("RGB", "RGBX")
        mode = _mode(samples)
        raw_mode = _raw_mode(mode, samples)
        bands = [source.decoded(mode, raw_mode)] if raw_mode else _bands(source, samples)
        image = _merged(mode, bands, samples.colours)
        if samples.colours == PALETTE:
            image.putpalette(_palette(self._directory, samples.bits))
        return image


def _mode(samples: Samples) -> str:
    if samples.bits == 32:
        return "F" if samples.format == FLOAT else "I"
    mode = _MODES[samples.colours]
    if samples.alpha is not None:
        return _WITH_ALPHA[mode][samples.is_associated]
    return "1" if mode == "L" and samples.bits == 1 else mode


def _raw_mode(mode: str, samples: Samples) -> str | None:
    """What Pillow calls a plane that holds just the bands of a mode; None: they are to be picked, or one inverted."""
    if Image.getmodebands(mode) != samples.together or (mode == "LA" and samples.colours == WHITE_IS_ZERO):
        return None
    if samples.bits < 8:
        return mode if mode == "1" else f"{mode};{samples.bits}"
    return mode if samples.bits == 8 else _RAW_WIDE.get((mode, samples.bits))


def _bands(source: Source, samples: Samples) -> list[Image.Image]:
    """The bands of 8 bits that are needed: of the colours, and of alpha."""
    needed = [*range(samples.colour_count), *([] if samples.alpha is None else [samples.alpha])]
    if samples.is_planar:
        return [source.decoded(*_PLANES[samples.bits], plane=plane).convert("L") for plane in needed]
    carried = source.decoded(*_CARRIERS[samples.bits, samples.together]).split()
    carried = carried[_UPPER::2] if (samples.bits, samples.together) == (16, 2) else carried
    return [carried[at] for at in needed]


def _merged(mode: str, bands: list[Image.Image], colours: int) -> Image.Image:
    if colours == WHITE_IS_ZERO:
        bands[0] = ImageChops.invert(bands[0])
    if colours == CIELAB:  # a and b are signed, Pillow's are not
        bands[1:] = [band.point([level ^ 0x80 for level in range(256)]) for band in bands[1:]]
    return bands[0] if len(bands) == 1 else Image.merge(mode, bands)


def _palette(directory: Directory, bits: int) -> bytes:
    entries = directory.whole_numbers(_COLOUR_MAP)
    count = 1 << bits
    if len(entries) != 3 * count or max(entries) > 0xFFFF:
        raise corrupt(f"a palette of {len(entries)} numbers for samples of {bits} bits")
    shift = 8 if max(entries) > 0xFF else 0
    colours = zip(entries[:count], entries[count : 2 * count], entries[2 * count :], strict=True)
    return bytes(number >> shift for colour in colours for number in colour)
