"""How stored pixels become those that steps work on: their mode (L, LA, RGB, RGBA), their orientation, their alpha.

| decoded mode | comes from | becomes |
|---|---|---|
| L, LA, RGB, RGBA | most files | itself; with a transparent colour (PNG tRNS) L becomes LA, RGB becomes RGBA |
| RGB, LA, RGBA of 16 bits | PNG, TIFF | the high byte of each sample; a transparent colour is found by all 16 bits |
| 1 | bilevel TIFF, PNG, GIF | L, 0 or 255 |
| P, PA | GIF, PNG, BMP | RGB; RGBA when the palette or a transparent colour has alpha |
| CMYK | JPEG (Adobe's inverted kind included), TIFF | RGB through its ICC profile; without one Pillow's plain formula |
| YCbCr, HSV | TIFF | RGB |
| LAB | TIFF | RGB through CIELAB D50 |
| RGBX, RGBa, La | TIFF | RGB, RGBA, LA |
| I;16 (every byte order) | PNG, TIFF | L, the high byte of each sample: brightness is kept, nothing is stretched |
| I | TIFF of 32 bits | L as 16 bits when all samples lie in 0 to 65535, else `image.unsupported` |
| F | TIFF of floats | L when all samples lie in 0 to 1, else `image.unsupported` |

Anything else is `image.unsupported`. Alpha stays where the output format has it; otherwise the picture is laid on the
declared background before the first step, so that no resampling mixes in the colour of invisible pixels.

Operations that mix neighbouring pixels work so that what cannot be seen lends no colour to what can:

| operation | how | error, in levels of 255 |
|---|---|---|
| resampling, which may overshoot | colours times alpha as floats, divided by alpha before either is clipped | 1/2 |
| blurs, which do not | colours times alpha in 8 bits | 1 of the product: 255 / alpha of the colour |
| sharpening and medians, which keep alpha | invisible pixels take the colours around them first | none |

Where alpha overshoots and is clipped before the division, a colour of 200 beside nothing comes out as 218. A blur's
error in a colour is larger the fainter the pixel; laid on any background, a blurred picture is within 3 levels of the
blurred whole, and a resampled one within 1, but for what overshoots.

What a file says about how its pixels are meant to be seen never fails an image; what is unusable is noted. The EXIF
orientation is read from the bytes directly (EXIF 2.32, section 4.6.2, tag 0x0112 in the first image file directory):
one pass that ends, whatever stands in the rest of the block. Anything invalid means upright. Orientation in XMP alone
is not honoured, as in browsers.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace
from PIL import Image, ImageChops, ImageColor, ImageMath
from PIL.Image import Resampling, Transpose

from batchproc.errors import Code, StageError

if TYPE_CHECKING:
    from batchproc.transform.colour import Declared

Quality: TypeAlias = Literal["fast", "balanced", "exact"]
Size: TypeAlias = tuple[int, int]  # width, height, px
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom, px; fractions allowed


class View(Struct, frozen=True, kw_only=True):
    """The link between an image in memory and the picture it stands for.

    They differ after a scaled JPEG decode: a picture of 1001 px decoded at 1/8 is 126 px wide in memory, of which
    125.125 are picture. A step that computes with sizes uses `size`, and reads its pixels from `box`.
    """

    size: Size  # of the picture as displayed
    box: Box  # where the whole picture lies in the pixels
    quality: Quality = "exact"
    background: str = "#ffffff"
    note: Callable[[str], None] = lambda _text: None  # hears what the row of the image is to say of its pixels

    @classmethod
    def whole(cls, image: Image.Image) -> "View":
        """The view of an image that stands for itself."""
        return cls(size=image.size, box=(0, 0, *image.size))

    def then(self, image: Image.Image) -> "View":
        """The view after a step that made `image`: it stands for itself from here on."""
        return replace(self, size=image.size, box=(0, 0, *image.size))


UPRIGHT = 1
_TAG = 0x0112
_SHORT = 3

_TURNS: dict[int, Transpose] = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}

_BOXES: dict[int, Callable[[float, float, float, float, int, int], Box]] = {
    2: lambda x0, y0, x1, y1, w, _h: (w - x1, y0, w - x0, y1),
    3: lambda x0, y0, x1, y1, w, h: (w - x1, h - y1, w - x0, h - y0),
    4: lambda x0, y0, x1, y1, _w, h: (x0, h - y1, x1, h - y0),
    5: lambda x0, y0, x1, y1, _w, _h: (y0, x0, y1, x1),
    6: lambda x0, y0, x1, y1, _w, h: (h - y1, x0, h - y0, x1),
    7: lambda x0, y0, x1, y1, w, h: (h - y1, w - x1, h - y0, w - x0),
    8: lambda x0, y0, x1, y1, w, _h: (y0, w - x1, y1, w - x0),
}


def read_orientation(exif: bytes) -> int:
    """The orientation tag of an EXIF block, with or without its `Exif` header; 1 when absent or invalid."""
    block = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return UPRIGHT
    try:
        return _scan(block, order)
    except struct.error:
        return UPRIGHT


def read_hidden_orientation(text: str) -> int:
    """The orientation in a text chunk of ImageMagick's: a blank line, a name, a length, EXIF in hexadecimal digits."""
    digits = "".join(text.split()[2:])
    try:
        return read_orientation(bytes.fromhex(digits[: len(digits) // 2 * 2]))
    except ValueError:
        return UPRIGHT


def upright_size(size: Size, orientation: int) -> Size:
    """The size as displayed. Its own inverse."""
    return (size[1], size[0]) if orientation >= 5 else size


def set_upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as it is meant to be seen. Releases the GIL."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def upright_box(box: Box, size: Size, orientation: int) -> Box:
    """Where `box` of an image of `size` px lies once the image is upright."""
    turn = _BOXES.get(orientation)
    return box if turn is None else turn(*box, *size)


def _scan(block: bytes, order: str) -> int:
    (offset,) = struct.unpack_from(order + "L", block, 4)
    (entries,) = struct.unpack_from(order + "H", block, offset)
    for entry in range(entries):
        tag, kind, count, value = struct.unpack_from(order + "HHLH", block, offset + 2 + 12 * entry)
        if tag == _TAG:
            return value if kind == _SHORT and count == 1 and 1 <= value <= 8 else UPRIGHT
    return UPRIGHT


Aperture: TypeAlias = tuple[int, int, int, int]  # left, top, right, bottom, px


class Presentation(Struct, frozen=True, kw_only=True):
    """`aperture` is the part that is shown, in stored pixels; None: all. It is cut before the picture is turned."""

    orientation: int = UPRIGHT
    aperture: Aperture | None = None
    colours: "tuple[Declared, ...]" = ()  # the first that is usable counts
    notes: tuple[str, ...] = ()

    def size(self, stored: Size) -> Size:
        """The size as displayed of pixels of the size `stored`."""
        if self.aperture is not None:
            left, top, right, bottom = self.aperture
            stored = (right - left, bottom - top)
        return upright_size(stored, self.orientation)


def display_by(
    declared: "Iterable[Declared | str]", *, orientation: int = UPRIGHT, notes: Sequence[str] = ()
) -> Presentation:
    """From what a file says of its colours, the strongest first, with notes where it is of no use."""
    said = tuple(declared)
    return Presentation(
        orientation=orientation,
        colours=tuple(one for one in said if not isinstance(one, str)),
        notes=(*notes, *(one for one in said if isinstance(one, str))),
    )


def display_of(image: Image.Image) -> Presentation:
    """From what Pillow has found in the file: the EXIF orientation and the ICC profile."""
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    return Presentation(
        orientation=read_orientation(exif) if isinstance(exif, bytes) else UPRIGHT,
        colours=(profile,) if isinstance(profile, bytes) and profile else (),
    )


WORKING_MODES = ("L", "LA", "RGB", "RGBA")


def to_working_mode(image: Image.Image) -> Image.Image:
    """The picture in one of `WORKING_MODES`. Raises `StageError` (`image.unsupported`) where there is no rule."""
    if image.mode in WORKING_MODES:
        return _with_transparent_colour(image)
    if image.mode in _CONVERTED:
        return image.convert(_CONVERTED[image.mode])
    rule = _RULES.get(image.mode.split(";")[0] if image.mode.startswith("I;16") else image.mode)
    if rule is None:
        raise StageError(Code.IMAGE_UNSUPPORTED, f"the picture has mode {image.mode}, for which there is no rule")
    return rule(image)


def has_alpha(image: Image.Image) -> bool:
    """Whether a picture in a working mode has an alpha channel."""
    return image.mode in ("LA", "RGBA")


def flatten(image: Image.Image, background: str) -> Image.Image:
    """The picture laid on an opaque background, `#rrggbb`. Grey stays grey on a neutral background."""
    if not has_alpha(image):
        return image
    colour = ImageColor.getrgb(background)
    if image.mode == "LA" and len(set(colour)) == 1:
        canvas = Image.new("L", image.size, colour[0])
        canvas.paste(image.getchannel("L"), mask=image.getchannel("A"))
        return canvas
    canvas = Image.new("RGB", image.size, colour)
    layer = image.convert("RGBA")
    canvas.paste(layer, mask=layer)
    return canvas


def _with_transparent_colour(image: Image.Image) -> Image.Image:
    """L and RGB with one colour declared invisible get an alpha channel; a colour out of range matches no pixel."""
    colour = image.info.get("transparency")
    if colour is None or has_alpha(image):
        return image
    levels = colour if isinstance(colour, tuple) else (colour,)
    usable = all(isinstance(level, int) and 0 <= level <= 255 for level in levels)
    return image.convert(image.mode + "A") if usable and len(levels) == len(image.getbands()) else image


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms  # with littleCMS, of no use to who only names sizes

    transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    return transform.apply(image)


def _from_integers(image: Image.Image) -> Image.Image:
    samples = image.convert("I") if image.mode != "I" else image
    low, high = _extrema(samples)
    if low < 0 or high > 65535:
        message = f"32-bit samples from {low:.0f} to {high:.0f} have no defined brightness"
        raise StageError(Code.IMAGE_UNSUPPORTED, message)
    return samples.point(lambda value: value * (1 / 256) + 0).convert("L")


def _from_floats(image: Image.Image) -> Image.Image:
    low, high = _extrema(image)
    if not 0 <= low <= high <= 1:
        raise StageError(Code.IMAGE_UNSUPPORTED, f"float samples from {low:g} to {high:g} have no defined brightness")
    return image.point(lambda value: value * 255 + 0.5).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    assert isinstance(low, int | float)  # one band: two numbers
    assert isinstance(high, int | float)
    return low, high


_CONVERTED = {"PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "La": "LA"}
_RULES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "1": lambda image: image.convert("LA" if "transparency" in image.info else "L"),
    "P": lambda image: image.convert("RGBA" if image.has_transparency_data else "RGB"),
    "LAB": _from_lab,
    "I": _from_integers,
    "F": _from_floats,
}


Operation: TypeAlias = Callable[[Image.Image], Image.Image]
Ink: TypeAlias = tuple[int, ...]
Mixing: TypeAlias = Callable[[Image.Image, int | Ink], Image.Image]

_OPAQUE = 255


def visible(image: Image.Image) -> Image.Image:
    """A mask of the pixels of an LA or RGBA image that can be seen at all."""
    return _mask(image.getchannel("A"))


def on_colours(image: Image.Image, operation: Operation) -> Image.Image:
    """The operation on the colours alone: alpha is set aside and put back."""
    if not has_alpha(image):
        return operation(image)
    done = operation(image.convert(image.mode[:-1]))
    done.putalpha(image.getchannel("A"))
    return done


def on_weighted(image: Image.Image, operation: Mixing, *, fill: Ink = ()) -> Image.Image:
    """A linear operation on an LA or RGBA image, done on each band as floats, colours weighted by alpha.

    It is called with bands and with what stands in them for `fill`, an opaque colour; without one for transparency.
    ImageMath holds the GIL, for about 3 ns per pixel and band. Opaque images take the short way.
    """
    weight = image.getchannel("A")
    if weight.getextrema() == (_OPAQUE, _OPAQUE):
        done = operation(image.convert(image.mode[:-1]), fill or 0)
        done.putalpha(operation(weight, _OPAQUE if fill else 0))
        return done
    weight = weight.convert("F")
    mixed_weight = operation(weight, _OPAQUE if fill else 0)
    alpha = _levels(mixed_weight)
    shown = _mask(alpha)
    bands = []
    for at, name in enumerate(image.getbands()[:-1]):
        product = ImageMath.lambda_eval(_product, a=image.getchannel(name).convert("F"), b=weight)
        mixed = operation(product, fill[at] * _OPAQUE if fill else 0)
        colour = _levels(ImageMath.lambda_eval(_quotient, a=mixed, b=mixed_weight))
        bands.append(ImageChops.darker(colour, shown))  # no noise where there is nothing
    return Image.merge(image.mode, (*bands, alpha))


def on_premultiplied(image: Image.Image, operation: Operation) -> Image.Image:
    """An operation that averages neighbours, done on 8-bit products of colours and alpha."""
    if not has_alpha(image):
        return operation(image)
    return operation(image.convert(image.mode[:-1] + "a")).convert(image.mode)


def on_neighbours(image: Image.Image, operation: Operation) -> Image.Image:
    """An operation that looks at the colours around a pixel and keeps alpha as it is."""
    if not has_alpha(image):
        return operation(image)
    alpha = image.getchannel("A")
    done = operation(_filled_in(image.convert(image.mode[:-1]), alpha))
    done.putalpha(alpha)
    return done


def _filled_in(colours: Image.Image, alpha: Image.Image) -> Image.Image:
    """The colours; where there is no alpha those of visible pixels around, from ever smaller copies of the image."""
    low, high = alpha.getextrema()
    if low or not high:
        return colours
    shown = _mask(alpha)
    seen = colours.copy()
    seen.putalpha(shown)
    half = on_weighted(seen, lambda band, _fill: band.reduce(2))
    behind = _filled_in(half.convert(colours.mode), half.getchannel("A")).resize(colours.size, Resampling.BILINEAR)
    behind.paste(colours, mask=shown)
    return behind


def _mask(alpha: Image.Image) -> Image.Image:
    return alpha.point([0] + [_OPAQUE] * 255)


def _levels(band: Image.Image) -> Image.Image:
    """Floats as 8 bits, rounded and clipped."""
    return band.point(lambda value: value * 1 + 0.5).convert("L")


def _product(bands: dict[str, Any]) -> Any:
    return bands["a"] * bands["b"]


def _quotient(bands: dict[str, Any]) -> Any:
    """0 where nothing is divided by nothing."""
    return bands["a"] / bands["b"]
