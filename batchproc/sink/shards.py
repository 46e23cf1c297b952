"""Shards: files that hold the images of neighbouring items with their rows, and `manifest.json`, which names them.

A shard's name says what is in it: its number, and a digest of its rows (each has the hash of its image) and of how
they are written. So the same rows make the same file under the same name, whatever happened before, and another content
never takes the place of one that somebody reads. The manifest is replaced last.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, TypeAlias

from batchproc.failpoints import failpoint
from batchproc.remembered import Row, Shard
from batchproc.sink import tar
from batchproc.sink.atomic import replacing, sweep_temporary, sync_folder
from batchproc.sink.images import ImageFolder

FORMAT = 1  # raised when the same rows make other bytes than before
FOLDER = "shards"
DIGEST_DIGITS = 16
CAPTION = "text"  # what loaders call the column with an image's caption


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSettings:
    """What decides how rows become shards, beside the rows."""

    layout: str
    shard_items: int
    caption: str = ""  # the list's column with the captions; empty = none
    columns: str = ""  # the columns of the list, with their types

    @property
    def suffix(self) -> str:
        return ".tar"

    def text(self) -> str:
        """All of it, for comparing."""
        return json.dumps([FORMAT, self.layout, self.shard_items, self.caption, self.columns])


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One image of a shard, with its row."""

    item: int
    key_hex: str
    name: str  # in its shard: the key, and a number behind it for a further row of the same item
    suffix: str
    size_bytes: int
    sha256_hex: str
    row: Row
    row_json: bytes

    @property
    def file_name(self) -> str:
        return f"{self.name}{self.suffix}"


def packed_name(key_hex: str, suffix: str) -> str:
    """The name of an image inside its shard."""
    return f"{key_hex}{suffix}"


def make_samples(rows: Iterable[tuple[int, Row]]) -> list[Sample]:
    """What the rows of a shard's items, in their order, become."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    samples: list[Sample] = []
    number = 1
    for item, row in rows:
        key_hex = str(row["key"])
        number = number + 1 if samples and samples[-1].item == item else 1
        sample = Sample(
            item=item,
            key_hex=key_hex,
            name=key_hex if number == 1 else f"{key_hex}-{number}",
            suffix=str(row["file_name"]).removeprefix(key_hex),
            size_bytes=int(str(row["size_bytes"])),
            sha256_hex=str(row["sha256"]),
            row=row,
            row_json=encode(row).encode("utf-8", "backslashreplace"),
        )
        samples.append(sample)
    return samples


def shard_name(settings: ShardSettings, number: int, samples: Iterable[Sample]) -> str:
    """The name of the shard that these samples make."""
    digest = hashlib.sha256(settings.text().encode("utf-8", "surrogatepass"))
    for sample in samples:
        digest.update(b"\n" + sample.row_json)
    return f"{FOLDER}/{number:05d}-{digest.hexdigest()[:DIGEST_DIGITS]}{settings.suffix}"


class LostImageError(Exception):
    """The image of an item is not what its row says, wherever it is."""

    def __init__(self, item: int) -> None:
        super().__init__(item)
        self.item = item


class StoredImages:
    """Reads images from where they are: from files that wait for their shard, or from earlier shards.

    A context manager, for one thread. Whatever is read has the hash that its row names.
    """

    def __init__(self, images: ImageFolder, output: Path, shards: Iterable[Shard]) -> None:
        self._images = images
        self._opened = [opened for shard in shards if (opened := _open_shard(output / shard.name)) is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for opened in self._opened:
            opened.file.close()

    def waits(self, sample: Sample) -> bool:
        """Whether there is a file of that image's name and size."""
        with suppress(OSError):
            return self._waiting_path(sample).stat().st_size == sample.size_bytes
        return False

    def has(self, sample: Sample) -> bool:
        """Whether there is an image of that name and size."""
        packed = any(opened.size_of(sample) == sample.size_bytes for opened in self._opened)
        return packed or self.waits(sample)

    def read(self, sample: Sample) -> bytes:
        """The image. Raises `LostImageError`."""
        for content in self._candidates(sample):
            if hashlib.sha256(content).hexdigest() == sample.sha256_hex:
                return content
        raise LostImageError(sample.item)

    def _waiting_path(self, sample: Sample) -> Path:
        return self._images.final_path(sample.key_hex, sample.suffix)

    def _candidates(self, sample: Sample) -> Iterator[bytes]:
        with suppress(OSError):
            yield self._waiting_path(sample).read_bytes()
        for opened in self._opened:
            if opened.size_of(sample) is not None:
                yield opened.read(sample)


class _OpenedTar:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._members = {member.name: member for member in tar.members(file)}

    def size_of(self, sample: Sample) -> int | None:
        member = self._members.get(packed_name(sample.key_hex, sample.suffix))
        return member.size_bytes if member else None

    def read(self, sample: Sample) -> bytes:
        member = self._members[packed_name(sample.key_hex, sample.suffix)]
        self.file.seek(member.start_bytes)
        return self.file.read(member.size_bytes)


def _open_shard(path: Path) -> _OpenedTar | None:
    """An earlier shard; None where it is gone, or damaged: what was in it is lost then."""
    try:
        file = path.open("rb")
    except OSError:
        return None
    try:
        return _OpenedTar(file)
    except (ValueError, OSError):
        file.close()
        return None


class _Hashing:
    """What is written to a file, with its size and hash."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, content: bytes) -> int:
        self._file.write(content)
        self._digest.update(content)
        self.size_bytes += len(content)
        return len(content)

    @property
    def sha256(self) -> bytes:
        return self._digest.digest()


class ShardFolder:
    """Where the shards of a job go. For one thread at a time. `power`: what is written survives a power cut."""

    def __init__(self, output: Path, *, power: bool = False) -> None:
        self._output = output
        self._power = power

    def sweep(self) -> None:
        """Removes what a killed process left half-written. Needs the run lock."""
        if (self._output / FOLDER).is_dir():
            sweep_temporary(self._output / FOLDER, own=True)

    def write(
        self, name: str, settings: ShardSettings, samples: Sequence[Sample], read: Callable[[Sample], bytes]
    ) -> tuple[int, bytes]:
        """Writes a shard and gives it its name; its size and hash. Raises OSError, and what `read` raises."""
        path = self._output / name
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            hashing = _Hashing(file)
            WRITERS[settings.layout](hashing.write, settings, samples, read)
            failpoint("sink.shard_written")
            if self._power:
                file.flush()
                os.fsync(file.fileno())
        if self._power:
            sync_folder(path.parent)
        return hashing.size_bytes, hashing.sha256

    def remove(self, name: str) -> None:
        """Deletes a shard that no manifest names; one that is gone is fine. Raises OSError."""
        (self._output / name).unlink(missing_ok=True)


Write: TypeAlias = Callable[[bytes], object]


def _write_tar(
    write: Write, settings: ShardSettings, samples: Sequence[Sample], read: Callable[[Sample], bytes]
) -> None:
    """Each sample is its image, its row and, if there are captions, its text: all of them have all of these."""
    for sample in samples:
        _write_member(write, sample.file_name, read(sample))
        _write_member(write, f"{sample.name}.json", sample.row_json)
        if settings.caption:
            _write_member(write, f"{sample.name}.txt", caption_text(sample.row.get(CAPTION)))
    write(tar.END)


def _write_member(write: Write, name: str, content: bytes) -> None:
    write(tar.header(name, len(content)) + content + tar.padding(len(content)))


def caption_text(value: object) -> bytes:
    """A caption as the content of a text file; empty where there is none."""
    if value is None:
        return b""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")


WRITERS: Mapping[
    str, Callable[[Write, ShardSettings, Sequence[Sample], Callable[[Sample], bytes]], None]
] = {"webdataset": _write_tar}


def write_shard_manifest(path: Path, settings: ShardSettings, shards: Sequence[Shard]) -> None:
    """Writes `manifest.json`, which readers read, unless it says the same already. Raises OSError."""
    facts = {
        "format": FORMAT,
        "layout": settings.layout,
        "shard_items": settings.shard_items,
        "count": sum(shard.samples for shard in shards),
        "bytes": sum(shard.size_bytes for shard in shards),
        "shards": [
            {
                "name": shard.name,
                "count": shard.samples,
                "bytes": shard.size_bytes,
                "sha256": shard.sha256.hex(),
            }
            for shard in shards
        ],
    }
    content = (json.dumps(facts, indent=1) + "\n").encode()
    if not path.is_file() or path.read_bytes() != content:
        with replacing(path) as file:
            file.write(content)
