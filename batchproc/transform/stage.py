"""The transform stage: bytes in, a temporary file with the finished picture out.

    header -> checks that need no more -> decode -> steps -> encode -> write

One place per error: whatever fails in decode or encode is `image.*`, in a custom step `step.error`, in the write
`io.*`. The parts of its time are "decode", "steps.<op>" for each step after the header checks (a custom one by its
import path), "encode", "write".
"""

import hashlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.model import Item, OutputImage, Source, SourceImage, original_name
from batchproc.protocols import Lap
from batchproc.transform.colour import Colours
from batchproc.transform.decode import Decoded, Opened, decode, open_picture, prepare_pillow
from batchproc.transform.encode import Encoded, encode, holds_alpha, keep_original, target_of, write_temporary
from batchproc.transform.modes import Size, View, flatten, to_working_mode
from batchproc.transform.plan import Transform
from batchproc.transform.resampler import pixels_for
from batchproc.transform.steps.custom import CustomStep, OpenedStep
from batchproc.transform.steps.step import BuiltIn, FormatCheck, SizeCheck, Unlike


class TransformWork:
    """The stage opened by one worker, with its cache of colour transforms. Not shared between threads."""

    def __init__(self, plan: Transform) -> None:
        prepare_pillow()
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
        customs = [step for step in steps if isinstance(step, OpenedStep)]
        self._watched = {f"steps.{step.op}" for step in customs if step.holds_gil is None}
        self._moves = [(f"steps.{step.op}", step.apply) for step in steps[heads:]]  # two of one kind add up
        self._unlike = next((step for step in steps if isinstance(step, Unlike)), None)
        self._scaling = first_scaling(steps[heads:])

    def __call__(self, item: Item[SourceImage], lap: Lap) -> OutputImage:
        """Makes the rendition of one original. Raises `StageError` and `Reject`."""
        plan, original = self._plan, item.value
        opened = open_picture(original.content, formats=plan.formats, max_pixels=plan.max_pixels)
        self._check_header(opened)
        target = target_of(plan.output_format, opened.kind)
        background = None if holds_alpha(target) else plan.background
        needed = self._needed(opened.size)
        decoded = decode(opened, needed=needed, background=background, colours=self._colours)
        lap("decode")
        before = self._gallery.begin(item.source, decoded.image, lap)
        image, notes = self._stepped(decoded, opened.size, lap)
        image_hash = ""
        if self._unlike is not None:
            image_hash = self._unlike.hash_of(image)
            lap("steps.unique")
        encoded = encode(image, target, quality=plan.output_quality, background=plan.background)
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
            for part, apply in self._moves:
                if part in self._watched:
                    lap.watch_gil(part)
                image, view = apply(image, view)
                lap(part)
        except MemoryError:
            raise StageError(Code.IMAGE_MEMORY, "not enough memory for the steps") from None
        return image, list(dict.fromkeys(notes))

    def _written(
        self,
        item: Item[SourceImage],
        opened: Opened,
        encoded: Encoded,
        image_hash: str,
        notes: tuple[str, ...],
    ) -> OutputImage:
        content, kind = item.value.content, opened.kind.upper()
        source_sha256 = hashlib.sha256(content).hexdigest()
        kept_bytes = self._kept(item, source_sha256, kind)
        path = write_temporary(
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
        return keep_original(
            item.value.content,
            root=plan.originals_root,
            name=original_name(source_sha256, kind),
            folder=plan.temporary_folder,
            key_hex=item.source.key_hex,
            durable=plan.durability == "power",
        )


def first_scaling(steps: Sequence[BuiltIn | OpenedStep]) -> BuiltIn | None:
    """The step that may say how large the whole picture will be; None: all of its pixels are needed.

    There is one only where it comes before every step that looks at pixels together.
    """
    first = next((step for step in steps if not (isinstance(step, BuiltIn) and step.takes_scaled)), None)
    return first if isinstance(first, BuiltIn) else None


SIDE_PX = 256
QUALITY = 72
MOST_PER_WORKER = 200  # a list that is worked off in an odd order cannot fill the disk


class Thumbnails:
    """Writes `<folder>/<key>-before.jpg` and `-after.jpg`. One per worker, used by that worker alone.

    `folder` is absolute and exists; empty, or `every` = 0: there is no gallery. `background` lies under transparency.
    """

    def __init__(self, *, folder: str, every: int, background: str) -> None:
        self._folder = Path(folder)
        self._every = every if folder else 0
        self._background = background
        self._made = 0

    def begin(self, source: Source, decoded: Image.Image, lap: Lap) -> bytes:
        """The picture before any step, small, as JPEG; empty when this item is not one of those to show."""
        if not self._every or source.index % self._every or self._made >= MOST_PER_WORKER:
            return b""
        self._made += 1
        before = self._small(decoded)
        lap("gallery")
        return before

    def end(self, source: Source, before: bytes, after: Image.Image, lap: Lap) -> None:
        """Writes both pictures when there are both."""
        if not before:
            return
        pictures = {"before": before, "after": self._small(after)}
        try:
            for word, content in pictures.items() if all(pictures.values()) else ():
                (self._folder / f"{source.key_hex}-{word}.jpg").write_bytes(content)
        except OSError:  # the rendition is what matters; a full disk shows there
            return
        finally:
            lap("gallery")

    def _small(self, image: Image.Image) -> bytes:
        """A JPEG of at most `SIDE_PX` on each side; empty when it cannot be made."""
        try:
            picture = flatten(to_working_mode(image), self._background)
            scale = min(1.0, SIDE_PX / max(picture.size))
            size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
            picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
            file = BytesIO()
            picture.save(file, "JPEG", quality=QUALITY)
        except (StageError, OSError, ValueError, MemoryError):
            return b""
        return file.getvalue()
