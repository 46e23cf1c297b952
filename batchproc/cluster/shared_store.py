"""Where the machines of a cluster meet: a folder that all of them see, or a bucket.

Names are relative and use slashes. Nothing is listed: who looks for an object knows its name.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from batchproc.errors import DiskError
from batchproc.stores import Bucket


class FolderStore:
    """A folder of a file system that all machines have mounted at the same place.

    Its methods are those of every store, and raise `DiskError`, or `StoreError`, which is one.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        self.folder = folder

    def get(self, name: str) -> bytes | None:
        """An object; None where there is none."""
        with self._errors("read", name), suppress(FileNotFoundError):
            return (self.folder / name).read_bytes()
        return None

    def get_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        """A range of an object's bytes."""
        with self._errors("read", name), (self.folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(size_bytes)

    def put(self, name: str, path: Path) -> None:
        """Moves a local file there, under a name that stands for its content."""
        with self._errors("written", name):
            move(path, self.folder / name)

    def create(self, name: str, content: bytes) -> bool:
        """Makes an object if there is none, whole or not at all; whether the one that stands is this.

        A hard link is refused where the name is taken, as on NFS too.
        """
        target = self.folder / name
        with self._errors("written", name), _written_beside(target, content) as new:
            with suppress(FileExistsError):
                os.link(new, target)
                return True
            return target.read_bytes() == content

    def replace(self, name: str, content: bytes) -> None:
        """Makes an object, or another of it."""
        target = self.folder / name
        with self._errors("written", name), _written_beside(target, content) as new:
            new.replace(target)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there."""
        with self._errors("removed", name):
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def _errors(self, done: str, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(f"{self.folder / name}: cannot be {done}: {error.strerror}") from error


class BucketStore:
    """A folder of a bucket. Made where it is used: no fork may inherit one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._bucket = Bucket(address)

    def get(self, name: str) -> bytes | None:
        found = self._bucket.read(name)
        return None if found is None else found[0]

    def get_range(self, name: str, offset: int, size_bytes: int) -> bytes:
        return self._bucket.read_range(name, offset, size_bytes)

    def put(self, name: str, path: Path) -> None:
        self._bucket.write(name, path)
        path.unlink()

    def create(self, name: str, content: bytes) -> bool:
        return self._bucket.replace(name, content, None)

    def replace(self, name: str, content: bytes) -> None:
        self._bucket.write(name, content)

    def remove(self, name: str) -> None:
        self._bucket.delete(name)


Store: TypeAlias = FolderStore | BucketStore


def open_store(address: str) -> Store:
    """The store at an address, or in a folder given by its path."""
    return BucketStore(address) if "://" in address else FolderStore(Path(address))


def move(path: Path, target: Path) -> None:
    """Gives a file or a folder another name; on another file system it is copied, and appears there whole.

    Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = _beside(target)
        if path.is_dir():
            shutil.copytree(path, copy)
            copy.replace(target)
            shutil.rmtree(path)
            return
        try:
            shutil.copyfile(path, copy)
            copy.replace(target)
        finally:
            copy.unlink(missing_ok=True)
        path.unlink()


def _beside(target: Path) -> Path:
    """A name in the same folder that nobody else has: several machines write there."""
    return target.with_name(f".{target.name}.{uuid4().hex}.tmp")


@contextmanager
def _written_beside(target: Path, content: bytes) -> Iterator[Path]:
    """A file with this content in the target's folder; it goes with the block."""
    new = _beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new.open("xb") as file:
            file.write(content)
        yield new
    finally:
        new.unlink(missing_ok=True)
