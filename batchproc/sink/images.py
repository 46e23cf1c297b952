"""The output images on disk: a temporary name first, then `images/ab/<key><suffix>`, which depends on the key alone."""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from batchproc.model import original_name
from batchproc.sink.atomic import sync_folder

RESERVE_NAME = "ballast"  # the name on disk, which jobs have already
OWNER_NAME = "owner.json"  # in the folder of a job whose shards go to a bucket: which one it is
YOUNG_NANOSECONDS = 2_000_000_000  # more than the coarsest clock of a file system
TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}\.\d+\.\d+\.part")  # as a worker names what it writes: key, pid, number
ORIGINAL_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9]{1,8}")
IMAGE_NAME = re.compile(r"([0-9a-f]{32})(\.[a-z0-9]{1,8})")


class ImageFolder:
    """The folder `images` of one job and its `.tmp`. Used by one thread at a time: the ledger's writer.

    `power`: `sync` makes names survive a power cut; else it does nothing.
    """

    def __init__(self, output: Path, *, power: bool = False) -> None:
        self._output = str(output)
        self._temporary = f"{output}/.tmp"
        self._power = power
        self._made: set[str] = set()  # folders known to exist
        self._touched: set[str] = set()  # folders with names that a power cut could take back

    @property
    def is_durable(self) -> bool:
        """Whether names are to survive a power cut."""
        return self._power

    def file_name(self, key_hex: str, suffix: str) -> str:
        """The path of an output image relative to the output folder."""
        return f"images/{key_hex[:2]}/{key_hex}{suffix}"

    def final_path(self, key_hex: str, suffix: str) -> Path:
        """Where an output image belongs."""
        return Path(self.final_name(key_hex, suffix))

    def final_name(self, key_hex: str, suffix: str) -> str:
        """The same as text, which takes a fifth of the time."""
        return f"{self._output}/images/{key_hex[:2]}/{key_hex}{suffix}"

    def temporary_name(self, path: str) -> str:
        """The name of a temporary file. Raises ValueError for a file that is not directly in `.tmp`."""
        folder, name = os.path.split(path)
        if folder != self._temporary:
            raise ValueError(f"{path}: a temporary file belongs into {self._temporary}")
        return name

    def temporary_path(self, name: str) -> Path:
        """Where a temporary file is."""
        return Path(self._temporary, name)

    def temporary_names(self) -> Iterator[str]:
        """The names of the temporary files that exist. What else lies there is not ours."""
        with os.scandir(self._temporary) as entries:
            for entry in entries:
                if TEMPORARY_NAME.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def final_names(self) -> Iterator[tuple[str, str]]:
        """Key and suffix of every output image's file that exists, in no order. What else lies there is not ours."""
        for folder in Path(self._output, "images").glob("[0-9a-f][0-9a-f]"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = IMAGE_NAME.fullmatch(entry.name)
                    if name and name[1][:2] == folder.name and not entry.is_dir(follow_symlinks=False):
                        yield name[1], name[2]

    def names_in(self, prefix: str) -> list[str]:
        """The names of all files in the folder of the keys that begin with these two digits."""
        try:
            return os.listdir(f"{self._output}/images/{prefix}")  # noqa: PTH208  # names, not paths
        except FileNotFoundError:
            return []

    def original_name(self, source_sha256: str, original_format: str) -> str:
        """The path of the original relative to the output folder; empty where it was not kept."""
        name = original_name(source_sha256, original_format)
        return name if os.path.isfile(f"{self._output}/{name}") else ""  # noqa: PTH113  # per row

    def original_files(self) -> Iterator[tuple[str, str]]:
        """The hash and the path of every original that was kept. What else lies there is not ours."""
        for folder in Path(self._output, "originals").glob("[0-9a-f][0-9a-f]"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = ORIGINAL_NAME.fullmatch(entry.name)
                    if name and name[1][:2] == folder.name and not entry.is_dir(follow_symlinks=False):
                        yield name[1], entry.path

    def shard_path(self, name: str) -> Path | None:
        """Where a shard of this name is; None for those of a job that has a bucket for its output."""
        return None if Path(self._output, OWNER_NAME).exists() else Path(self._output, name)

    def snapshot(self) -> str:
        """What changes whenever a file is added or removed; empty while the last such change is too fresh to tell.

        A folder's time changes with its names. Within a tick of the system's clock it may change unseen.
        """
        digest, newest = hashlib.blake2b(digest_size=16), 0
        folders = [*Path(self._output, "images").glob("[0-9a-f][0-9a-f]"), *Path(self._output).glob("shards")]
        for folder, status in sorted((folder.name, folder.stat()) for folder in folders):
            digest.update(f"{folder} {status.st_ino} {status.st_mtime_ns}\n".encode())
            newest = max(newest, status.st_mtime_ns)
        return digest.hexdigest() if newest < time.time_ns() - YOUNG_NANOSECONDS else ""

    def place(self, name: str, key_hex: str, suffix: str) -> None:
        """Gives a temporary file its final name; what stood there, a link included, is replaced. Raises OSError."""
        folder = f"{self._output}/images/{key_hex[:2]}"
        if folder not in self._made:
            Path(folder).mkdir(exist_ok=True)  # not its parents: an output that vanished must not rise from the dead
            self._made.add(folder)
            self._touched.add(f"{self._output}/images")
        os.replace(f"{self._temporary}/{name}", f"{folder}/{key_hex}{suffix}")  # noqa: PTH105  # 10 us less per image
        self._touched.add(folder)

    def remove(self, key_hex: str, suffix: str) -> None:
        """Deletes an output image's file, if it is there. A folder of that name is not ours and stays."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(self.final_name(key_hex, suffix))  # noqa: PTH108
            self._touched.add(f"{self._output}/images/{key_hex[:2]}")

    def sync(self) -> None:
        """With `power`: returns when the names given since the last call are on the disk."""
        if self._power:
            for folder in sorted(self._touched):
                sync_folder(Path(folder))
        self._touched.clear()
