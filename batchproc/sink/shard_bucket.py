"""Shards in a bucket of an object store: written here, sent there under names that stand for their content.

The manifest and the data card follow when all shards are there. Nothing is renamed and nothing listed. A folder of a
bucket belongs to one job: the first one to come leaves its mark there, and another is refused.
"""

import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from batchproc.errors import StoreError, UsageError
from batchproc.failpoints import failpoint
from batchproc.remembered import Shard
from batchproc.sink.atomic import replacing
from batchproc.sink.card_pictures import named_in
from batchproc.sink.images import OWNER_NAME
from batchproc.sink.shard_files import MANIFEST, ShardFolder, manifest_of, open_shard
from batchproc.sink.shard_samples import OpenedShard, Read, Sample, ShardSettings
from batchproc.stores import Bucket


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
