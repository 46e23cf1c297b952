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
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from io import BytesIO
from typing import TypeAlias

from PIL import Image, ImageChops, ImageCms

from batchproc.transform.alpha import on_colours
from batchproc.transform.colour_space import Space

Declared: TypeAlias = bytes | Space  # an ICC profile, or a space named by other means

PROFILE_LIMIT_BYTES = 3 << 20  # press profiles reach about 2.5 MB
_PLANS_KEPT = 16
_SAME_WITHIN = 2  # levels of 255 by which a profile may differ from sRGB and still be taken for it
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # ICC colour space (ICC.1, table 19) -> Pillow mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
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
