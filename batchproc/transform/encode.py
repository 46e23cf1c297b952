"""From pixels to bytes in memory (JPEG, PNG, WebP, AVIF; sRGB, without any metadata), and from bytes to a file.

JPEG: 4:2:0 chroma, baseline, standard Huffman tables. On 256 px pictures `optimize` would save 4% of the bytes for 2.3
times the encoding time, `progressive` 5% for 5 times. PNG: zlib level 6, `quality` has no meaning. WebP: lossy, method
4. AVIF: speed 6, one thread. The same pixels give the same bytes in every mode.

`keep` writes the original's format where it is one of the four; a GIF, BMP or TIFF becomes a PNG, the lossless one that
every program reads (of an animation the first frame).

What is written are images, and originals that are kept: an OSError is about the disk and about nothing else.
"""

import errno
import itertools
import os
import stat
from collections.abc import Mapping
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import IO

from msgspec import Struct
from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.failpoints import failpoint
from batchproc.transform.modes import flatten, has_alpha, to_working_mode


class Target(Struct, frozen=True, kw_only=True):
    """An output format: Pillow's word, the suffix of its files, what it can hold, the longest side in px."""

    format: str
    suffix: str
    modes: tuple[str, ...]
    limit_px: int
    options: Mapping[str, int] = {}  # of Pillow's writer, beside the quality


TARGETS: dict[str, Target] = {
    "jpeg": Target(format="JPEG", suffix=".jpg", modes=("L", "RGB"), limit_px=65_500),
    "png": Target(format="PNG", suffix=".png", modes=("L", "LA", "RGB", "RGBA"), limit_px=2**31 - 1),
    "webp": Target(format="WEBP", suffix=".webp", modes=("RGB", "RGBA"), limit_px=16_383, options={"method": 4}),
    "avif": Target(
        format="AVIF", suffix=".avif", modes=("RGB", "RGBA"), limit_px=32_768,  # what libavif reads again
        options={"speed": 6, "max_threads": 1},
    ),
}  # fmt: skip


class Encoded(Struct, frozen=True, kw_only=True):
    """The bytes of a rendition, with the mode and size of the pixels that went in."""

    data: bytes
    target: Target
    mode: str
    size: tuple[int, int]


def target_of(output_format: str, original_kind: str) -> Target:
    """The format to write: the one asked for, or with `keep` the original's where it is one of these, else PNG."""
    return TARGETS.get(original_kind, TARGETS["png"]) if output_format == "keep" else TARGETS[output_format]


def holds_alpha(target: Target) -> bool:
    """Whether transparency survives in this format."""
    return "RGBA" in target.modes


def encode(image: Image.Image, target: Target, *, quality: int, background: str) -> Encoded:
    """Encodes to memory; drops all metadata of `image`, in place.

    Raises `StageError`: image.unsupported when the picture is too large for the format or its encoder refuses it,
    image.memory.
    """
    if max(image.size) > target.limit_px:
        message = f"{image.width} x {image.height} px: {target.format} ends at {target.limit_px} px per side"
        raise StageError(Code.IMAGE_UNSUPPORTED, message, hint="resize first, or choose another [output] format")
    try:
        ready = _in_mode(image, target, background)
        ready.info = {}  # Pillow's writers take profile, comment and transparent colour from here
        return Encoded(data=_saved(ready, target, quality), target=target, mode=ready.mode, size=ready.size)
    except StageError:
        raise
    except MemoryError:
        raise StageError(Code.IMAGE_MEMORY, f"not enough memory to encode {target.format}") from None
    except Exception as error:  # encoders raise OSError, ValueError, SystemError and more
        message = f"the {target.format} encoder refused the picture ({type(error).__name__})"
        raise StageError(Code.IMAGE_UNSUPPORTED, message) from error


def _in_mode(image: Image.Image, target: Target, background: str) -> Image.Image:
    """The picture in a mode that the format can hold."""
    image = to_working_mode(image)
    if not holds_alpha(target):
        image = flatten(image, background)
    if image.mode not in target.modes:
        return image.convert("RGBA" if has_alpha(image) else "RGB")
    return image


def _in_memory_file() -> AbstractContextManager[IO[bytes]]:
    """A file that lives in memory. Where the system has them, one with a descriptor.

    Pillow's JPEG encoder releases the GIL only when it writes to a descriptor. On 256 px pictures with two threads:
    10,000 images/s, against 6,400 through a BytesIO; a single thread pays 15 µs more.
    """
    if _MEMORY_FILES:
        return os.fdopen(os.memfd_create("batchproc", os.MFD_CLOEXEC), "w+b", buffering=0)
    return BytesIO()


def _memory_files_work() -> bool:
    """Whether anonymous memory files are there: Linux 3.17 and newer, unless a sandbox forbids them."""
    if not hasattr(os, "memfd_create"):
        return False
    try:
        os.close(os.memfd_create("batchproc", os.MFD_CLOEXEC))
    except OSError:
        return False
    return True


_MEMORY_FILES = _memory_files_work()


def _saved(image: Image.Image, target: Target, quality: int) -> bytes:
    with _in_memory_file() as file:
        image.save(file, target.format, quality=quality, **target.options)
        file.seek(0)
        return file.read()


SLICE_BYTES = 65_536  # per call: most renditions take one, and a large one can be interrupted halfway

_counter = itertools.count()  # next() is atomic: threads of one process never share a name
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_CODES = {
    errno.ENOSPC: Code.IO_NOSPACE,
    errno.EDQUOT: Code.IO_NOSPACE,
    errno.EACCES: Code.IO_PERM,
    errno.EPERM: Code.IO_PERM,
}


def write_temporary(data: bytes, *, folder: str, key_hex: str, durable: bool) -> str:
    """Writes `data` to a new file `<folder>/<key>.<pid>.<n>.part` and returns its path; `durable`: with fsync.

    The mode is left to the umask. The file is there whole or not at all. Raises `StageError`: io.nospace, io.perm,
    io.other.
    """
    path = f"{folder}/{key_hex}.{os.getpid()}.{next(_counter)}.part"
    try:
        descriptor = os.open(path, _FLAGS, 0o666)
    except OSError as error:
        raise _failure(error) from error
    failpoint("transform.temporary_open")
    try:
        _fill(descriptor, data, durable=durable)
    except OSError as error:
        Path(path).unlink(missing_ok=True)
        raise _failure(error) from error
    except BaseException:
        Path(path).unlink(missing_ok=True)
        raise
    failpoint("transform.written")
    return path


def keep_original(content: bytes, *, root: str, name: str, folder: str, key_hex: str, durable: bool) -> int:
    """Writes the bytes as downloaded to `<root>/<name>`, unless they are there; returns how many were written.

    `folder` is that of the temporary files, on the same device. Whole or not at all, and before the item's row names
    it: a kill leaves no row without its original. Raises `StageError`, as `write_temporary` does.
    """
    path = f"{root}/{name}"
    if _is_there(path, len(content)):
        return 0
    temporary = write_temporary(content, folder=folder, key_hex=key_hex, durable=durable)
    failpoint("transform.original_written")
    try:
        _make_folder(Path(path).parent)
        Path(temporary).replace(path)
        if durable:
            _sync(Path(path).parent)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise _failure(error) from error
    failpoint("transform.original_kept")
    return len(content)


def _is_there(path: str, size_bytes: int) -> bool:
    """Whether a file of this size has the name, which is the hash of what belongs into it."""
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116  # per image
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failure(error) from error
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _make_folder(path: Path) -> None:
    """Makes the folder, and `originals` above it, but no more: an output that vanished must not rise from the dead."""
    path.parent.mkdir(exist_ok=True)
    path.mkdir(exist_ok=True)


def _sync(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fill(descriptor: int, data: bytes, *, durable: bool) -> None:
    """Writes every byte, syncs when asked, and closes: an error of the close counts, a failed sync is not repeated."""
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest[:SLICE_BYTES]) :]
            if rest:
                failpoint("transform.mid_write")
        if durable:
            os.fsync(descriptor)
    except BaseException:
        _close_quietly(descriptor)
        raise
    os.close(descriptor)


def _close_quietly(descriptor: int) -> None:
    """Closes after an error: the first error is the one to report."""
    try:
        os.close(descriptor)
    except OSError:
        return


def _failure(error: OSError) -> StageError:
    code = _CODES.get(error.errno or 0, Code.IO_OTHER)
    name = errno.errorcode.get(error.errno or 0, "unknown error")
    return StageError(code, f"the image cannot be written: {os.strerror(error.errno or 0)} ({name})")
