"""Shards: files that hold the images of neighbouring items with their rows, and `manifest.json`, which names them.

A shard's name says what is in it: its number, and a digest of its rows (each has the hash of its image) and of how
they are written. So the same rows make the same file under the same name, whatever happened before, and another content
never takes the place of one that somebody reads. The manifest is replaced last.

Shards for a bucket of an object store are written here and sent there; the manifest and the data card follow when all
are there. Nothing is renamed and nothing listed. A folder of a bucket belongs to one job: the first one to come leaves
its mark there, and another is refused.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self
from uuid import uuid4

from batchproc.errors import StoreError, UsageError
from batchproc.failpoints import failpoint
from batchproc.remembered import Shard
from batchproc.sink.atomic import replacing, sweep_temporary, sync_folder
from batchproc.sink.data_card import named_in
from batchproc.sink.layout import OWNER_NAME, ImageFolder
from batchproc.sink.shard_samples import (
    FORMAT,
    ByteSink,
    LostImageError,
    OpenedShard,
    OpenedTar,
    Read,
    Sample,
    ShardSettings,
    write_tar,
)
from batchproc.stores import Bucket

FOLDER = "shards"
MANIFEST = "manifest.json"
DIGEST_DIGITS = 16
NAME = re.compile(rf"{FOLDER}/\d{{5,}}-[0-9a-f]{{{DIGEST_DIGITS}}}\.(tar|parquet)")


def shard_name(settings: ShardSettings, number: int, samples: Iterable[Sample]) -> str:
    """The name of the shard that these samples make."""
    digest = hashlib.sha256(settings.text().encode("utf-8", "surrogatepass"))
    for sample in samples:
        digest.update(b"\n" + sample.row_json)
    return f"{FOLDER}/{number:05d}-{digest.hexdigest()[:DIGEST_DIGITS]}{settings.suffix}"


class StoredImages:
    """Reads images from where they are: from files that wait for their shard, or from earlier shards.

    A context manager, for one thread. Whatever is read has the hash that its row names.
    """

    def __init__(self, images: ImageFolder, folder: "ShardFolder", shards: Iterable[Shard]) -> None:
        self._images = images
        self._folder = folder
        self._unopened = list(shards)  # most are never needed: all images of a new shard wait as files
        self._opened: list[OpenedShard] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._opened:
            opened.close()

    def waits(self, sample: Sample) -> bool:
        """Whether there is a file of that image's name and size."""
        try:
            return os.stat(self._waiting_name(sample)).st_size == sample.size_bytes  # noqa: PTH116  # a name, no path
        except OSError:
            return False

    def has(self, sample: Sample) -> bool:
        """Whether there is an image of that name and size."""
        return self.waits(sample) or any(
            opened.size_of(sample.packed_name) == sample.size_bytes for opened in self._earlier()
        )

    def read(self, sample: Sample) -> bytes:
        """The image. Raises `LostImageError`."""
        for content in self._candidates(sample):
            if hashlib.sha256(content).hexdigest() == sample.sha256_hex:
                return content
        raise LostImageError(sample.item)

    def _waiting_name(self, sample: Sample) -> str:
        return self._images.final_name(sample.key_hex, sample.suffix)

    def _candidates(self, sample: Sample) -> Iterator[bytes]:
        with suppress(OSError), open(self._waiting_name(sample), "rb", 0) as file:  # noqa: PTH123  # likewise
            yield file.read()
        for opened in self._earlier():
            with suppress(OSError, ValueError):
                if opened.size_of(sample.packed_name) is not None:
                    yield opened.read(sample.packed_name)

    def _earlier(self) -> Iterator[OpenedShard]:
        """The earlier shards, each opened when those before it did not have what is looked for."""
        yield from self._opened
        while self._unopened:
            opened = self._folder.open(self._unopened.pop(0).name)
            if opened is not None:
                self._opened.append(opened)
                yield opened


def open_shard(path: Path) -> OpenedShard | None:
    """An earlier shard; None where it is gone, or damaged: what was in it is lost then."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    try:
        if path.suffix == ".tar":
            return OpenedTar(file)
        from batchproc.sink.parquet import OpenedParquet

        return OpenedParquet(file)
    except (ValueError, OSError):
        file.close()
        return None


def _write_shard(file: ByteSink, settings: ShardSettings, samples: list[Sample], read: Read) -> None:
    if settings.suffix == ".tar":
        return write_tar(file, settings, samples, read)
    from batchproc.sink import parquet

    return parquet.write_shard(file, settings, samples, read)


class _HashedFile:
    """Writes to a file, and knows the size and hash of what was written."""

    closed = False

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, content: bytes) -> int:
        self._file.write(content)
        self._digest.update(content)
        self.size_bytes += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size_bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The file belongs to who opened it."""

    @property
    def sha256(self) -> bytes:
        return self._digest.digest()


class ShardFolder:
    """Where the shards of a job go. For one thread at a time. `power`: what is written survives a power cut."""

    def __init__(self, output: Path, *, power: bool = False) -> None:
        self._output = output
        self._power = power

    def claim(self) -> None:
        """Makes the place this job's own: a folder is, by the run lock. Raises `UsageError` for a bucket's job's."""
        if (self._output / OWNER_NAME).exists():
            raise UsageError(f"{self._output / OWNER_NAME}: this job's shards are in a bucket; output has to name it.")

    def sweep(self) -> None:
        """Removes what a killed process left half-written. Needs the run lock."""
        if (self._output / FOLDER).is_dir():
            sweep_temporary(self._output / FOLDER, own=True)

    def write(self, name: str, settings: ShardSettings, samples: list[Sample], read: Read) -> tuple[int, bytes]:
        """Writes a shard and gives it its name; its size and hash. Raises OSError, and what `read` raises."""
        path = self._output / name
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            hashed = _HashedFile(file)
            _write_shard(hashed, settings, samples, read)
            failpoint("sink.shard_written")
            if self._power:
                file.flush()
                os.fsync(file.fileno())
        if self._power:
            sync_folder(path.parent)
        return hashed.size_bytes, hashed.sha256

    def open(self, name: str) -> OpenedShard | None:
        """An earlier shard; None where it is gone, or damaged: what was in it is lost then."""
        return open_shard(self._output / name)

    def remove(self, name: str) -> None:
        """Deletes a shard that no manifest names; one that is gone is fine. Raises OSError."""
        (self._output / name).unlink(missing_ok=True)

    def publish(self, settings: ShardSettings, shards: Sequence[Shard]) -> None:
        """Writes the manifest, which readers read, unless it says the same already. Raises OSError."""
        path, content = self._output / MANIFEST, manifest_of(settings, shards)
        if not path.is_file() or path.read_bytes() != content:
            with replacing(path) as file:
                file.write(content)

    def publish_card(self, path: Path) -> None:
        """Puts the data card beside the shards: it is there."""


def manifest_of(settings: ShardSettings, shards: Sequence[Shard]) -> bytes:
    """What `manifest.json` is to hold."""
    entries = [
        {"name": shard.name, "count": shard.samples, "bytes": shard.size_bytes, "sha256": shard.sha256.hex()}
        for shard in shards
    ]
    return manifest_text(settings.layout, settings.shard_items, entries)


def manifest_text(layout: str, shard_items: int, entries: Sequence[Mapping[str, Any]]) -> bytes:
    """The same of entries as `manifest.json` has them."""
    facts = {
        "format": FORMAT,
        "layout": layout,
        "shard_items": shard_items,
        "count": sum(entry["count"] for entry in entries),
        "bytes": sum(entry["bytes"] for entry in entries),
        "shards": list(entries),
    }
    return (json.dumps(facts, indent=1) + "\n").encode()


def read_shard_manifest(path: Path) -> list[str]:
    """The names of the shards in `manifest.json`; none where it is missing or not as we write it."""
    try:
        names = [shard["name"] for shard in json.loads(path.read_bytes())["shards"]]
    except (OSError, ValueError, TypeError, LookupError):
        return []
    return [name for name in names if isinstance(name, str) and NAME.fullmatch(name)]


class ShardBucket(ShardFolder):
    """Where the shards of a job go that has a bucket for its output. For one thread at a time.

    `folder` is the job's own, on a disk: a shard is there while it is written, and one that is read again as a copy.
    """

    def __init__(self, folder: Path, address: str, *, power: bool = False) -> None:
        super().__init__(folder, power=power)
        self._bucket = Bucket(address)

    def claim(self) -> None:
        """Makes the bucket's folder this job's. Raises `UsageError` where it is another's, or the job has another."""
        owner = self._output / OWNER_NAME
        with suppress(FileNotFoundError):
            if json.loads(owner.read_bytes())["address"] != self._bucket.address:
                raise UsageError(f"{owner}: this job's shards are at another address; give that one a [job] state too.")
        if not owner.exists():
            if (self._output / MANIFEST).exists():
                raise UsageError(f"{self._output}: holds shards; give a bucket a [job] state of its own.")
            with replacing(owner) as file:
                file.write(json.dumps({"address": self._bucket.address, "job": uuid4().hex}).encode())
        if not self._bucket.replace(OWNER_NAME, owner.read_bytes(), None):
            raise UsageError(
                f"{self._bucket.address}: belongs to another job, or to one whose [job] state was lost; "
                f"choose another folder, or remove {OWNER_NAME} from it to have its shards made again."
            )

    def write(self, name: str, settings: ShardSettings, samples: list[Sample], read: Read) -> tuple[int, bytes]:
        """The same, and sends the shard. Raises `StoreError` too."""
        size_bytes, sha256 = super().write(name, settings, samples, read)
        path = self._output / name
        self._bucket.write(name, path)
        failpoint("sink.shard_sent")
        path.unlink()
        return size_bytes, sha256

    def open(self, name: str) -> OpenedShard | None:
        """A copy of the shard that lasts until it is closed."""
        with tempfile.NamedTemporaryFile(dir=self._output, prefix=".shard-", suffix=Path(name).suffix) as copy:
            if self._bucket.download(name, Path(copy.name)) is None:
                return None
            return open_shard(Path(copy.name))

    def remove(self, name: str) -> None:
        """Deletes a shard that no manifest names. Raises `StoreError` too."""
        self._bucket.delete(name)
        super().remove(name)

    def publish(self, settings: ShardSettings, shards: Sequence[Shard]) -> None:
        """The same, there and here. Raises `StoreError` too, as where another program took the manifest's place."""
        content = manifest_of(settings, shards)
        standing = self._bucket.read(MANIFEST)
        known, version = standing or (None, None)
        if known != content and not self._bucket.replace(MANIFEST, content, version):
            raise StoreError(f"{self._bucket.address}/{MANIFEST}: another program replaced it just now.")
        super().publish(settings, shards)

    def publish_card(self, path: Path) -> None:
        """Sends the data card with its pictures, unless it is there. Raises `StoreError`."""
        content = path.read_bytes()
        standing = self._bucket.read(path.name)
        if standing is not None and standing[0] == content:
            return
        for name in sorted(named_in(content)):
            self._bucket.write(name, (path.parent / name).read_bytes())
        self._bucket.write(path.name, content)
        for name in named_in(standing[0]) - named_in(content) if standing else ():
            self._bucket.delete(name)
