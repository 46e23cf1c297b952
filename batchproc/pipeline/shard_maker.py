"""Images become shards while the run goes on: a shard is made once all its items have come out.

Until then they wait as files, as in the layout `files`. A thread makes the shards that are complete, and where more
waits than `[output] spool` allows, one that is not. What is left when the run ends is made then, and only then is
`manifest.json` replaced and what it no longer names deleted: readers see the data set before the run, or after it.

Killed at any instant, the next run goes on from the ledger: an image is in its file until the shard that has it is
noted, and a shard that was written and not noted is written again, with the same bytes under the same name.
"""

import queue
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Self

from batchproc.columns import Columns
from batchproc.config import Config, OutputTable
from batchproc.errors import BatchprocError, DiskError, file_errors
from batchproc.explain.words import count
from batchproc.failpoints import failpoint
from batchproc.ledger import CAPTION, Ledger, ShardTable
from batchproc.model import Item, Outcome
from batchproc.pipeline.closing import row_columns
from batchproc.remembered import Shard
from batchproc.signals import Counted, doing
from batchproc.sink import ImageFolder, Layout
from batchproc.sink.layout import IMAGE_NAME
from batchproc.sink.shard_files import ShardBucket, ShardFolder, StoredImages, read_shard_manifest, shard_name
from batchproc.sink.shard_samples import (
    LostImageError,
    Sample,
    ShardSettings,
    UnfitRowError,
    make_samples,
    packed_name,
)
from batchproc.transform.encode import write_temporary

BESIDE = (".json", ".txt")  # what stands beside an image in a tar shard
END = -1  # no shard has this number
WAITING = "Nothing is lost: its images wait as files; make room, and run the same command again."
PATIENCE_SECONDS = 120.0  # with a shard that is being written: more than any takes whose disk answers


def shard_settings(output: OutputTable, columns: Columns) -> ShardSettings:
    """What decides how the rows of this job become shards."""
    return ShardSettings(
        layout=output.layout,
        shard_items=output.shard_items,
        columns=tuple(row_columns(columns, output.caption)),
        caption=CAPTION if output.caption else "",
    )


def shard_folder(config: Config, *, power: bool) -> ShardFolder:
    """Where the shards of this job go. Raises `UsageError` for a bucket that cannot be reached from here."""
    paths = config.paths
    if not paths.bucket:
        return ShardFolder(paths.output, power=power)
    return ShardBucket(paths.output, paths.bucket, power=power)


class ShardMaker:
    """Makes the shards of one run. A context manager, used in the main thread; `committed` in the ledger's writer.

    Its own thread makes them from `__enter__` to `stop`, and the caller of `finish` after that.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        ledger: Ledger,
        *,
        work: Mapping[int, int],
        is_decided_late: bool = False,
        first_number: int = 0,
    ) -> None:
        power = config.output.durability == "power"
        self._layout = layout
        self._ledger = ledger
        self._columns = ledger.columns()
        self._settings = shard_settings(config.output, self._columns)
        self._caption = config.output.caption
        self._images = ImageFolder(layout.output, power=power)
        self._folder = shard_folder(config, power=power)
        self._table = ShardTable.open(layout.ledger_path, power=power)
        self._most_bytes = config.output.spool
        self._first_number = first_number  # in the names: other machines make those before
        self._is_decided_late = is_decided_late  # which images stay: shards are made at the end, if the spool holds
        self._left = dict(work)  # items that have not come out, by shard; the writer's, as are the next two
        self._waiting_bytes: Counter[int] = Counter()
        self._waiting_total = 0
        self._due: queue.SimpleQueue[tuple[int, bool]] = queue.SimpleQueue()
        self._error: BatchprocError | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._make_due, name="shards", daemon=True)

    def __enter__(self) -> Self:
        self._folder.claim()
        self._folder.sweep()
        self._table.adopt(self._settings.text())
        for number in self._table.outdated(self._settings.shard_items):
            if number not in self._left:
                self._due.put((number, True))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._table.__exit__()

    def committed(self, outcomes: Sequence[Outcome]) -> None:
        """These items have come out. Raises what kept the thread from making a shard: the run has to end."""
        if self._error is not None:
            raise self._error
        for outcome in outcomes:
            number = outcome.source.index // self._settings.shard_items
            if isinstance(outcome, Item):
                self._waiting_bytes[number] += outcome.value.size_bytes
                self._waiting_total += outcome.value.size_bytes
            self._left[number] = self._left.get(number, 0) - 1
            if self._left[number] == 0 and not self._is_decided_late:
                self._ask_for(number, is_complete=True)
        while self._waiting_total > self._most_bytes:
            self._ask_for(self._waiting_bytes.most_common(1)[0][0], is_complete=False)

    def _ask_for(self, number: int, *, is_complete: bool) -> None:
        self._waiting_total -= self._waiting_bytes.pop(number, 0)
        self._due.put((number, is_complete))

    def stop(self) -> None:
        """Ends the thread with the shard that it is making. Before the ledger's writer ends. Raises `DiskError`."""
        self._is_stopping = True
        self._due.put((END, True))
        if self._thread.is_alive():
            self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            raise DiskError(f"{self._layout.output}: a shard could not be written for {PATIENCE_SECONDS:g} s.")

    def finish(self) -> None:
        """Makes all that is left, publishes the manifest, and deletes what it no longer names. Raises `DiskError`."""
        if self._error is not None:
            raise self._error
        numbers = Counted(self._table.outdated(self._settings.shard_items))
        making = doing(lambda: f"making shards, {count(numbers.number, 'shard')} so far")
        with making, file_errors(self._layout.output, WAITING):
            for number in numbers:
                self._make(number, is_complete=True)
            self._folder.publish(self._settings, self._table.made())
            failpoint("shards.published")
            replaced = self._table.replaced()
            for name in replaced:
                self._folder.remove(name)
        failpoint("shards.removed")
        self._table.forget(replaced)

    def publish_card(self) -> None:
        """Puts the data card beside the shards. Raises `StoreError`."""
        self._folder.publish_card(self._layout.data_card_path)

    def _make_due(self) -> None:
        """What the thread does."""
        try:
            while not self._is_stopping:
                number, is_complete = self._due.get()
                if number != END:
                    self._ledger.flush()  # what came out is `done` only then
                    with file_errors(self._layout.output, WAITING):
                        self._make(number, is_complete=is_complete)
        except BatchprocError as error:
            self._error = error

    def _make(self, number: int, *, is_complete: bool) -> None:
        """Makes one shard, unless there is one that is the same.

        An image that is nowhere makes its item due again, and a row that does not fit makes it fail: never the shard.
        """
        first, last = number * self._settings.shard_items + 1, (number + 1) * self._settings.shard_items
        is_made = False
        while not is_made:
            with StoredImages(self._images, self._folder, self._table.covering(first, last)) as stored:
                rows = self._ledger.shard_rows(packed_name, self._columns, self._caption, first, last)
                samples = make_samples(rows)
                lost = {sample.item for sample in samples if not stored.has(sample)}
                try:
                    if not lost:
                        self._put(number, first, last, samples, stored, is_complete=is_complete)
                        is_made = True
                except LostImageError as error:
                    lost = {error.item}
                except UnfitRowError as error:
                    self._table.fail(error.item, str(error))
            if lost:
                self._table.lose(sorted(lost))

    def _put(
        self,
        number: int,
        first: int,
        last: int,
        samples: list[Sample],
        stored: StoredImages,
        *,
        is_complete: bool,
    ) -> None:
        """Sees to it that there is a shard of these samples, and that they have no files of their own any more."""
        if not samples:
            self._table.commit_empty(first, last)
            return
        name = shard_name(self._settings, self._first_number + number, samples)
        if self._table.is_made(name) and not any(map(stored.waits, samples)):
            self._table.confirm(name)
        else:
            self._table.begin(name, first, last)
            failpoint("shards.begun")
            size_bytes, sha256 = self._folder.write(name, self._settings, samples, stored.read)
            failpoint("shards.written")
            shard = Shard(
                name=name, first=first, last=last, samples=len(samples), size_bytes=size_bytes, sha256=sha256
            )
            self._table.commit(shard, is_complete=is_complete)
        failpoint("shards.committed")
        for sample in samples:
            self._images.remove(sample.key_hex, sample.suffix)
            failpoint("shards.emptying")
        self._table.note_emptied(name)


def unpack(config: Config, layout: Layout, ledger: Ledger) -> None:
    """Gives every image of a job that made shards a file of its own again, and deletes the shards. Raises `DiskError`.

    Killed at any instant, the next run goes on: a shard goes when all its images have files.
    """
    power = config.output.durability == "power"
    images, folder = ImageFolder(layout.output, power=power), shard_folder(config, power=power)
    columns = ledger.columns()
    folder.claim()
    with ShardTable.open(layout.ledger_path, power=power) as table, file_errors(layout.output, WAITING):
        shards = Counted(table.made())
        with doing(lambda: f"unpacking shards, {count(shards.number, 'shard')} so far"):
            for shard in shards:
                rows = ledger.shard_rows(packed_name, columns, "", shard.first, shard.last)
                with StoredImages(images, folder, table.covering(shard.first, shard.last)) as stored:
                    lost = _unpack_one(make_samples(rows), stored, images)
                if lost:
                    table.lose(lost)
        layout.shard_manifest_path.unlink(missing_ok=True)
        for name in table.all_names():
            folder.remove(name)
        table.abandon()


def _unpack_one(samples: list[Sample], stored: StoredImages, images: ImageFolder) -> list[int]:
    """Gives files to the images of one shard that have none; returns the items whose image is nowhere."""
    lost: set[int] = set()
    for sample in samples:
        if not stored.waits(sample):
            try:
                _give_file(stored.read(sample), sample.key_hex, sample.suffix, images)
            except LostImageError:
                lost.add(sample.item)
    images.sync()
    return sorted(lost)


def _give_file(content: bytes, key_hex: str, suffix: str, images: ImageFolder) -> None:
    path = write_temporary(content, folder=images.temporary, key_hex=key_hex, durable=images.is_durable)
    images.place(images.temporary_name(path), key_hex, suffix)
    failpoint("shards.unpacking")


def unpack_without_ledger(config: Config, layout: Layout, images: ImageFolder) -> list[str]:
    """Gives files to all images in the shards that `manifest.json` names; returns the names of the shards.

    For a ledger that is made anew: it looks at each of these files before it believes it. Raises `DiskError`.
    """
    names = read_shard_manifest(layout.shard_manifest_path)
    folder = shard_folder(config, power=images.is_durable)
    with file_errors(layout.output, WAITING):
        for name in names:
            opened = folder.open(name)
            for image in opened.names() if opened else ():
                found = IMAGE_NAME.fullmatch(image)
                if opened and found and found[2] not in BESIDE and not images.final_path(found[1], found[2]).exists():
                    with suppress(ValueError):  # damaged: what was in it is lost
                        _give_file(opened.read(image), found[1], found[2], images)
            if opened:
                opened.close()
        images.sync()
    return names
