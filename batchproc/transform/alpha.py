"""Operations that mix neighbouring pixels, so that what cannot be seen lends no colour to what can.

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

from PIL import Image, ImageChops, ImageMath
from PIL.Image import Resampling

from batchproc.transform.modes import has_alpha

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
