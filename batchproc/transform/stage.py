"""The transform stage: bytes in, a temporary file with the finished picture out.

    header -> checks that need no more -> decode -> steps -> encode -> write

One place per error: whatever fails in decode or encode is `image.*`, in a step of the user's `step.error`, in the write
`io.*`. The parts of its time are "decode", "steps.<op>" for each step after the header checks (a user's step by its
import path), "encode", "write".
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.model import Item, OutputImage, SourceImage, original_name
from batchproc.protocols import Lap
from batchproc.transform import encode, write
from batchproc.transform.colour import Colours
from batchproc.transform.decode import Decoded, Opened, decode, open_picture, prepare_pillow
from batchproc.transform.resampler import pixels_for
from batchproc.transform.settings import MODULES, TransformSettings
from batchproc.transform.steps.custom import CustomStep, OpenedStep
from batchproc.transform.steps.step import FormatCheck, Pixelwise, SizeCheck, Sizing, Step
from batchproc.transform.steps.unique import Unique
from batchproc.transform.thumbnails import Thumbnails
from batchproc.transform.view import Size, View

_Move: TypeAlias = Callable[[Image.Image, View], tuple[Image.Image, View]]

@dataclass(frozen=True, slots=True, kw_only=True)
class Transform(TransformSettings):
    """The stage `transform`: takes `Item[SourceImage]`, gives `OutputImage`. Picklable, the same in every worker."""

    @property
    def name(self) -> str:
        """The stage's word in spans and failures."""
        return "transform"

    @property
    def preload(self) -> tuple[str, ...]:
        """What a fork server imports once for all its workers."""
        return MODULES

    def open(self) -> "TransformWork":
        """Prepares one worker: settles Pillow's switches, imports the user's steps.

        Raises `CustomStepError` when one cannot be imported in this process.
        """
        prepare_pillow()
        return TransformWork(self)


class TransformWork:
    """The stage opened by one worker; holds its cache of colour transforms. Not shared between threads."""

    def __init__(self, plan: Transform) -> None:
        self._plan = plan
        self._colours = Colours()
        self._gallery = Thumbnails(
            folder=plan.gallery_folder, every=plan.gallery_every, background=plan.background
        )
        steps = [step.open() if isinstance(step, CustomStep) else step for step in plan.steps]
        self._format_checks = [step for step in steps if isinstance(step, FormatCheck)]
        steps = [step for step in steps if not isinstance(step, FormatCheck)]
        heads = next((at for at, step in enumerate(steps) if not isinstance(step, SizeCheck)), len(steps))
        self._size_checks = [step for step in steps[:heads] if isinstance(step, SizeCheck)]
        self._moves = [(_part_of(step), _move(step)) for step in steps[heads:]]
        self._is_hashed = any(isinstance(step, Unique) for step in steps)
        self._scaling = first_scaling(steps[heads:])

    def __call__(self, item: Item[SourceImage], lap: Lap) -> OutputImage:
        """Makes the rendition of one original. Raises `StageError` and `Reject`."""
        plan, original = self._plan, item.value
        opened = open_picture(original.content, formats=plan.formats, max_pixels=plan.max_pixels)
        self._check_header(opened)
        target = encode.target_of(plan.output_format, opened.kind)
        background = None if encode.holds_alpha(target) else plan.background
        needed = self._needed(opened.size)
        decoded = decode(opened, needed=needed, background=background, colours=self._colours)
        lap("decode")
        before = self._gallery.begin(item.source, decoded.image, lap)
        image, notes = self._stepped(decoded, opened.size, lap)
        image_hash = ""
        if self._is_hashed:
            image_hash = Unique.hash_of(image)
            lap(f"steps.{Unique.op}")
        encoded = encode.encode(image, target, quality=plan.output_quality, background=plan.background)
        lap("encode")
        rendition = self._written(item, opened, encoded, image_hash, (*decoded.notes, *notes))
        lap("write")
        self._gallery.end(item.source, before, image, lap)
        return rendition

    def abort(self) -> None:
        """Does nothing: pixels cannot be interrupted. In process mode the executor ends the worker instead."""

    def close(self) -> None:
        """Nothing is held but memory."""

    def _check_header(self, opened: Opened) -> None:
        """Raises `Reject` for what need not be decoded to know that it is not wanted."""
        for format_check in self._format_checks:
            format_check.check_format(opened.kind)
        for size_check in self._size_checks:
            size_check.check_size(opened.size)

    def _needed(self, size: Size) -> Size | None:
        """How many pixels of a picture of `size` to decode; None: all of them."""
        target = self._scaling.scaled_size(size) if self._scaling else None
        return pixels_for(target, self._plan.quality) if target else None

    def _stepped(self, decoded: Decoded, size: Size, lap: Lap) -> tuple[Image.Image, list[str]]:
        """The steps, one after the other, each with the view of what its pixels stand for; and their notes."""
        image, notes, plan = decoded.image, list[str](), self._plan
        view = View(size=size, box=decoded.box, quality=plan.quality, background=plan.background, note=notes.append)
        try:
            for part, move in self._moves:
                image, view = move(image, view)
                lap(part)
        except MemoryError:
            raise StageError(Code.IMAGE_MEMORY, "not enough memory for the steps") from None
        return image, list(dict.fromkeys(notes))

    def _written(
        self,
        item: Item[SourceImage],
        opened: Opened,
        encoded: encode.Encoded,
        image_hash: str,
        notes: tuple[str, ...],
    ) -> OutputImage:
        content, kind = item.value.content, opened.kind.upper()
        source_sha256 = hashlib.sha256(content).hexdigest()
        kept_bytes = self._kept(item, source_sha256, kind)
        path = write.write_temporary(
            encoded.data,
            folder=self._plan.temporary_folder,
            key_hex=item.source.key_hex,
            durable=self._plan.durability == "power",
        )
        return OutputImage(
            temporary_path=path,
            suffix=encoded.target.suffix,
            size_bytes=len(encoded.data),
            sha256=hashlib.sha256(encoded.data).hexdigest(),
            format=encoded.target.format,
            mode=encoded.mode,
            width_px=encoded.size[0],
            height_px=encoded.size[1],
            original_width_px=opened.size[0],
            original_height_px=opened.size[1],
            original_format=kind,
            original_size_bytes=len(content),
            kept_bytes=kept_bytes,
            source_sha256=source_sha256,
            reply=item.value.reply,
            image_hash=image_hash,
            notes=notes,
        )


    def _kept(self, item: Item[SourceImage], source_sha256: str, kind: str) -> int:
        """Keeps the original where that is asked for; returns the bytes written."""
        plan = self._plan
        if not plan.originals_root:
            return 0
        return write.keep_original(
            item.value.content,
            root=plan.originals_root,
            name=original_name(source_sha256, kind),
            folder=plan.temporary_folder,
            key_hex=item.source.key_hex,
            durable=plan.durability == "power",
        )


def first_scaling(steps: Sequence[Step]) -> Sizing | None:
    """The step that says how large the whole picture will be; None: all of its pixels are needed.

    There is one only where a scaling step comes before every step that looks at pixels together.
    """
    first = next((step for step in steps if not isinstance(step, SizeCheck | FormatCheck | Pixelwise)), None)
    return first if isinstance(first, Sizing) else None


def _part_of(step: Step | OpenedStep) -> str:
    """The name of a step's share of the time: two steps of one kind add up."""
    return f"steps.{step.path if isinstance(step, OpenedStep) else getattr(step, 'op', type(step).__name__)}"


def _move(step: Step) -> _Move:
    """One step as a function of image and view, its kind looked up once and not for every image."""
    if isinstance(step, SizeCheck):
        return partial(_checked, step)
    if isinstance(step, Sizing):
        return partial(_sized, step)
    return partial(_mapped if isinstance(step, Pixelwise) else _called, step)


def _checked(step: SizeCheck, image: Image.Image, view: View) -> tuple[Image.Image, View]:
    step.check_size(view.size)
    return image, view


def _sized(step: Sizing, image: Image.Image, view: View) -> tuple[Image.Image, View]:
    done = step.render(image, view)
    return done, view.then(done)


def _mapped(step: Step, image: Image.Image, view: View) -> tuple[Image.Image, View]:
    return step(image), view


def _called(step: Step, image: Image.Image, view: View) -> tuple[Image.Image, View]:
    done = step(image)
    return done, view.then(done)
