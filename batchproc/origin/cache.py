"""Keeps the drawn pictures between runs: drawing those of the demo takes seconds, reading them a tenth of one.

A file per seed and number of pictures in `$XDG_CACHE_HOME/batchproc` (`~/.cache/batchproc`), named by all that decides
its bytes: the code that draws and the libraries it draws with. A file that is damaged, cut short or not one of ours is
made again, and where nothing can be kept the pictures are drawn as if there were no cache. It may be deleted any time.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from PIL import features

from batchproc.origin.pictures import make_pictures

MAX_CACHE_BYTES = 300_000_000  # the demo's pictures are 34 MB; the oldest file goes first
MAX_HEAD_BYTES = 100_000
LOCK_SECONDS = 30.0  # another process that draws the same is waited for, as it would take the cores anyway
LOCK_PAUSE_SECONDS = 0.05
ABANDONED_SECONDS = 3600.0
SUFFIX, TEMPORARY_SUFFIX = ".pictures", ".pictures.tmp"
DRAWN_BY = ("painting.py", "pictures.py", "settings.py")
LIBRARIES = ("pil", "jpg", "libjpeg_turbo", "zlib", "webp")


def load_pictures(images: int, seed: int) -> list[bytes]:
    """The pictures of a seed in order of index: read where they were kept, else drawn and, if possible, kept."""
    path = cache_path(images, seed)
    if path is None:
        return make_pictures(images, seed)
    found = read_pictures(path, images)
    if found is None:
        with _one_at_a_time(path.parent):
            found = read_pictures(path, images)  # another process may have drawn them meanwhile
            if found is None:
                found = make_pictures(images, seed)
                with contextlib.suppress(OSError):  # a full or read-only disk: they are drawn again next time
                    _write(path, found)
                    _shrink(path.parent)
    return found


def cache_path(images: int, seed: int) -> Path | None:
    """Where the pictures are kept. None: there is no home, or the code that draws cannot be read."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored, says its specification
    try:
        folder = named if named.is_absolute() else Path.home() / ".cache"
        name = _fingerprint(images, seed)
    except (RuntimeError, OSError):
        return None
    return folder / "batchproc" / f"{name}{SUFFIX}"


def _fingerprint(images: int, seed: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in DRAWN_BY:
        digest.update((files("batchproc.origin") / name).read_bytes())
    versions = [(name, features.version(name)) for name in LIBRARIES]
    digest.update(repr((images, seed, versions, sys.version_info[:2], platform.machine())).encode())
    return digest.hexdigest()


def read_pictures(path: Path, images: int) -> list[bytes] | None:
    """The pictures in a file of the cache; None when it is missing, damaged, or no file of ours."""
    try:
        # O_NONBLOCK: a pipe of this name must not be waited for. O_NOFOLLOW: nor may a link lead elsewhere.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_size > MAX_CACHE_BYTES:
                return None
            head = json.loads(file.readline(MAX_HEAD_BYTES))
            sizes = [size for size in head["sizes"] if 0 <= size <= facts.st_size]  # or memory runs out
            found = [file.read(size) for size in sizes]
            if len(found) != images or file.read(1) or _digest(found) != head["digest"]:
                return None
        with contextlib.suppress(OSError):
            os.utime(path)  # it was used: others go first
    except (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return None
    return found


def _digest(pictures: Sequence[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for content in pictures:
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def _write(path: Path, pictures: Sequence[bytes]) -> None:
    """Under a temporary name first: a reader sees all of it or nothing. What is larger than the cache is not kept."""
    head = json.dumps({"sizes": [len(content) for content in pictures], "digest": _digest(pictures)}).encode()
    if sum(map(len, pictures)) + len(head) + 1 > MAX_CACHE_BYTES or len(head) >= MAX_HEAD_BYTES:
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=TEMPORARY_SUFFIX, delete=False) as file:
        try:
            file.writelines((head, b"\n", *pictures))
            file.flush()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _shrink(folder: Path) -> None:
    """Removes what was used longest ago until the rest is small enough, and what killed processes left."""
    now, kept = time.time(), 0
    for path in folder.glob(f"*{TEMPORARY_SUFFIX}"):
        if now - path.lstat().st_mtime > ABANDONED_SECONDS:
            path.unlink(missing_ok=True)
    for facts, path in sorted(((path.lstat(), path) for path in folder.glob(f"*{SUFFIX}")), key=_age):
        kept += facts.st_size
        if kept > MAX_CACHE_BYTES and stat.S_ISREG(facts.st_mode):
            path.unlink(missing_ok=True)


def _age(entry: tuple[os.stat_result, Path]) -> float:
    return -entry[0].st_mtime


@contextlib.contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Lets one process draw while the others wait for what it keeps; after a while, or without a lock, all draw."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(folder / "lock", flags, 0o600)
            stack.callback(os.close, descriptor)
            _lock(descriptor)
        yield


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(LOCK_PAUSE_SECONDS)
