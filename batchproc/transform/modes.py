"""The modes of pixels: what becomes of each on its way to the steps, which work on L, LA, RGB, RGBA; and alpha.

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
"""

from collections.abc import Callable
from typing import Any, TypeAlias

from PIL import Image, ImageChops, ImageCms, ImageColor, ImageMath
from PIL.Image import Resampling

from batchproc.errors import Code, StageError

WORKING_MODES = ("L", "LA", "RGB", "RGBA")


def to_working_mode(image: Image.Image) -> Image.Image:
    """The picture in one of `WORKING_MODES`. Raises `StageError` (`image.unsupported`) where there is no rule."""
    if image.mode in WORKING_MODES:
        return _with_transparent_colour(image)
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


def _from_palette(image: Image.Image) -> Image.Image:
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _from_bilevel(image: Image.Image) -> Image.Image:
    return image.convert("LA" if "transparency" in image.info else "L")


def _from_lab(image: Image.Image) -> Image.Image:
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


def _converted(mode: str) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.convert(mode)


_RULES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "1": _from_bilevel,
    "P": _from_palette,
    "PA": _converted("RGBA"),
    "CMYK": _converted("RGB"),
    "YCbCr": _converted("RGB"),
    "HSV": _converted("RGB"),
    "LAB": _from_lab,
    "RGBX": _converted("RGB"),
    "RGBa": _converted("RGBA"),
    "La": _converted("LA"),
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
