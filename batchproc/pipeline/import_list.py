"""The list of a job as its config names it; and before any work, the ledger repaired, compared and brought up to it."""

import difflib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.config import STDIN, Config, deciding_values, is_remote
from batchproc.errors import Code, DiskError, Problem, UsageError
from batchproc.explain.words import count
from batchproc.ledger import Imported, Ledger, PlanChange, Recovered, Repaired, holds_items, input_fingerprint
from batchproc.ledger.files import HasShard
from batchproc.model import ListedItem
from batchproc.pipeline.types import Listing, RunOptions
from batchproc.record.run_json import DueAgain
from batchproc.redact import printable
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.signals import Counted, doing
from batchproc.sink import Layout
from batchproc.sink.manifests import SplitCheck
from batchproc.sources import Entry, ListFormat, find_sources, is_stream, list_images, read_sources
from batchproc.sources.finding import fetch_list, file_url, folder_of, may_mean_images
from batchproc.sources.url import is_same_url
from batchproc.transform.plan import (
    Transform,
    asked_steps,
    describe_changes,
    fingerprint,
    keeps_images,
    plan_settings,
    recipe_of,
    resampler_problem,
)
from batchproc.version import VERSION


class JobList(Struct, frozen=True, kw_only=True):
    """The files of a list, found once, so that all that is done with it is done with the same ones."""

    paths: tuple[str, ...]  # absolute; "-" is stdin
    format: ListFormat
    duplicates: str
    images: tuple[str, ...] = ()  # absolute; in place of lists
    root: Path = Path("/")  # images below it are known by their paths from there
    split_column: str = ""  # has to name a split in each row; empty = none

    @classmethod
    def of(cls, config: Config, base_url: str, *, keep: bool = False) -> Self:
        """The list that the config names. Raises `UsageError` where a pattern or a folder names none.

        Of a list at an address there is a copy, in the job's folder where that may be touched (`keep`).
        """
        job = config.job
        copies = config.paths.output / "lists"
        if not keep and any(map(is_remote, config.paths.inputs)):
            copies = Path(_other_copies().name)
        local = [str(fetch_list(name, copies)) if is_remote(name) else name for name in config.paths.inputs]
        format = ListFormat(
            url_column=job.url_column,
            id_column=job.id_column,
            delimiter=job.delimiter,
            quoting=job.quoting,
            base_url=base_url or _local_base(config),
            local=job.allow_local,
            renamed=job.renamed_columns,
            dropped=job.dropped_columns,
        )
        found, root = find_sources(local), config.paths.root
        splits = config.output.splits
        return cls(
            paths=found.lists, format=format, duplicates=job.duplicates, images=found.images, root=root,
            split_column=splits if isinstance(splits, str) else "",
        )  # fmt: skip

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once: stdin and pipes."""
        return any(map(is_stream, self.paths))

    @property
    def names(self) -> tuple[str, ...]:
        """What tells its files apart in messages; empty for a single one."""
        if len(self.paths) == 1:
            return ()
        last = [Path(path).name for path in self.paths]
        return tuple(last) if len(set(last)) == len(last) else self.paths

    def check(self) -> None:
        """Reads the first entry, so that a bad list is known before anything is touched. Raises `UsageError`.

        Stdin and pipes can be read only once: they are checked when they are imported.
        """
        if STDIN in self.paths and sys.stdin is None:
            message = "stdin is closed, and the list is to be read from it."
            raise UsageError([Problem(where="[job] input", message=message)])
        if not self.is_stream:
            for path in self.paths:
                read_sources(path, self.format)

    def entries(self, columns: Columns | None = None, memory: ListMemory | None = None) -> Iterator[Entry]:
        """The list as the config says to read it; `columns` learns of it. Raises `UsageError`."""
        if self.images:
            return list_images(self.images, self.root)
        return read_sources(self.paths, self.format, columns=columns, memory=memory)

    def items(self, columns: Columns | None = None) -> Iterator[ListedItem]:
        """The list as the ledger takes it. Opened at the first item. Raises `UsageError`."""
        return (row for row in self.rows(columns, None) if isinstance(row, ListedItem))

    def rows(
        self, columns: Columns | None, memory: ListMemory | None = None
    ) -> Iterator[ListedItem | Known | Checkpoint]:
        """The same, without the beginning that is as it was by what is remembered, with the checkpoints of the rest."""
        entries = self.entries(columns, memory)
        return _check_splits(entries, self.split_column) if self.split_column else entries

    def fingerprint(self) -> str:
        """What tells this list from another; empty for stdin and pipes."""
        if self.is_stream:
            return ""
        prints = self._fingerprints() if self.paths else (*self.images, str(self.root), *self._settings)
        return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()

    def memory(self, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
        """What is remembered of this list, if it is read as it was then; None for stdin, pipes and images."""
        if self.is_stream or not self.paths:
            return None
        kinds = sorted({Path(path.lower().removesuffix(".gz")).suffix for path in self.paths})
        rule = json.dumps([VERSION, *kinds, *self._settings])
        several = self._fingerprints() if len(self.paths) > 1 else ()
        return ListMemory(rule=rule, checkpoints=checkpoints, files=several)

    def _fingerprints(self) -> tuple[str, ...]:
        return tuple(input_fingerprint(Path(path), *self._settings) for path in self.paths)

    @property
    def _settings(self) -> tuple[str, ...]:
        """The settings that decide what is read of it."""
        how = self.format
        columns = json.dumps([sorted(how.renamed.items()), sorted(how.dropped)]) if how.renamed or how.dropped else ""
        settings = how.url_column, how.id_column, how.delimiter, how.quoting, self.duplicates, how.base_url
        split = f"split {self.split_column}" if self.split_column else ""
        more = (*filter(None, [columns, split]), *(["local"] if how.local else []))
        return (*settings, *more)


def _check_splits(entries: Iterator[Entry], column: str) -> Iterator[Entry]:
    check = SplitCheck(column)
    for entry in entries:
        if isinstance(entry, ListedItem) and not entry.code and (fault := check.find_fault(entry.extra_json)):
            yield entry._replace(code=Code.INPUT_SPLIT, message=fault)
        else:
            yield entry


def _local_base(config: Config) -> str:
    """What relative URLs are joined with where they are files. Raises `UsageError` where their folder is missing."""
    if not config.job.allow_local:
        return ""
    folder = Path(config.paths.at_root(config.job.local_root))
    if not folder.is_dir():  # perhaps its disk is not mounted: no reason to take every file for missing
        where = f'[job] local_root = "{config.job.local_root}"'
        raise UsageError([Problem(where=where, message=f"is no folder: {folder}.")])
    return file_url(folder)


def local_roots(config: Config) -> tuple[str, ...]:
    """The folders that files may be read from: the one that the config names, and those of its images."""
    named = [config.paths.at_root(config.job.local_root)] if config.job.allow_local else []
    return tuple(dict.fromkeys(named + [folder_of(name) for name in config.paths.inputs if may_mean_images(name)]))


@cache
def _other_copies() -> TemporaryDirectory[str]:
    """A folder for copies that lasts as long as this process."""
    return TemporaryDirectory(prefix="batchproc-lists-")


class ImportedList(Struct, frozen=True, kw_only=True):
    """What was found on the way to the line."""

    opened_version: int  # of the ledger's tables, before this version took them over
    recovered: Recovered
    imported: Imported
    items: int  # of the list
    pruned: int  # files deleted whose sources left the list
    recipe: str  # how this run makes images
    outdated: int  # images of another recipe, which may have made them otherwise
    resampler_problem: str  # why Pillow resizes; empty where it does not, or nothing is resized
    deciding: Mapping[str, str]  # fingerprints of what decides failures, by key
    due_again: DueAgain
    retried: int | None  # None: nobody asked for what failed as some code
    repaired: Repaired | None  # None: nobody asked
    missing_files: int  # of items that are done all the same


def refuse_lost_ledger(layout: Layout) -> None:
    """Raises `DiskError` where metadata.jsonl tells of images and the ledger of nothing: it was lost, not never made.

    A run would take its images for unknown, fetch everything again, and write over what a rebuild needs.
    """
    manifest = layout.metadata_path
    if manifest.is_file() and manifest.stat().st_size and not holds_items(layout.ledger_path):
        raise DiskError(
            f"{layout.ledger_path}: the ledger is missing or empty, but {manifest.name} tells of images. "
            "`batchproc rebuild CONFIG` makes it again from them; --fresh makes every image again."
        )


def take_in(
    config: Config, options: RunOptions, transform: Transform, ledger: Ledger, base_url: str
) -> ImportedList:
    """Takes over what an earlier run left, compares the plans, and brings the ledger up to the list.

    Raises `UsageError` for a changed plan that nobody accepted, and for a list that the config does not allow.
    """
    with doing("taking over what an earlier run left"):
        recovered = ledger.recover()
        _adopt_plan(config, options, transform, ledger)
    imported = bring_in(config, ledger, options.listing or JobList.of(config, base_url, keep=True))
    counts = ledger.counts()
    check_list(config, ledger.columns, items=counts.items, bad_rows=counts.bad_rows)
    deciding = deciding_values(config, asked_steps(transform))
    due_again, retried = DueAgain(), None
    if options.fresh:
        ledger.start_afresh()
    elif options.retry_failed:
        again = ledger.retry_failed(options.retry_codes)
        retried = again if options.retry_codes else None
    else:
        due_again = ledger.make_due_again(deciding, max_runs=config.job.max_runs_per_item)
    repaired = ledger.repair(_bucket_probe(config)) if options.repair else None
    # A list that came out empty by accident must not cost the whole collection.
    pruned = ledger.prune_absent() if config.job.prune and counts.items else 0
    return ImportedList(
        opened_version=ledger.opened_version,
        recovered=recovered,
        imported=imported,
        items=counts.items,
        pruned=pruned,
        recipe=recipe_of(transform),
        outdated=ledger.count_outdated(),
        resampler_problem=resampler_problem(transform),
        deciding=deciding,
        due_again=due_again,
        retried=retried,
        repaired=repaired,
        missing_files=ledger.check_files(),
    )


def bring_in(config: Config, ledger: Ledger, listing: Listing, *, is_for_now: bool = False) -> Imported:
    """Reads the list into the ledger; `is_for_now`: the next import is to read it again."""
    columns = Columns()
    with doing("importing the list, 0 lines so far"):  # its first line may be long in coming, from a pipe
        rows = listing.rows(columns, listing.memory(ledger.checkpoints()))
    listed = Counted(rows)
    with doing(lambda: f"importing the list, {count(listed.number, 'line')} so far"):
        return ledger.import_sources(
            listed,
            fingerprint="" if is_for_now else listing.fingerprint(),
            names=listing.names,
            keyed_by_id=bool(config.job.id_column),
            same_url=is_same_url,
            columns=columns,
            keep_rows=config.job.duplicates == "rows",
        )


def _bucket_probe(config: Config) -> HasShard | None:
    """Says whether a shard in the job's bucket is as it was sent; None where shards are on a disk."""
    if not config.paths.bucket:
        return None
    from batchproc.stores import Bucket

    bucket = Bucket(config.paths.bucket)
    return lambda name, size_bytes, sha256: bucket.digest(name, size_bytes) == sha256


def describe_import(found: ImportedList) -> Iterator[str]:
    """What the user has to know of it, a line each."""
    if found.retried is not None:
        yield f"{count(found.retried, 'item')} that failed so: tried again"
    if found.repaired is not None:
        yield _describe_repaired(found.repaired)
    if found.outdated:
        yield (
            f"{found.outdated:,} images were made by another version of batchproc or of its resampler, and may differ "
            "a little from new ones; --accept-config-change makes them again"
        )


def _describe_repaired(repaired: Repaired) -> str:
    found = {
        "missing": repaired.missing, "of another size or hash": repaired.changed, "unreadable": repaired.unreadable,
    }  # fmt: skip
    lost = ", ".join(f"{number:,} {what}" for what, number in found.items() if number)
    files = count(repaired.whole + repaired.lost, "file")
    return f"{files} checked: {lost}; those items are due again" if lost else f"{files} checked, all of them whole"


def check_list(config: Config, columns: Callable[[], Columns], *, items: int, bad_rows: int) -> None:
    """Raises `UsageError` for a list that the config does not allow."""
    job = config.job
    if job.max_bad_rows and bad_rows > job.max_bad_rows:
        raise UsageError(
            f"{job.input_text}: {bad_rows} bad rows, more than max_bad_rows = {job.max_bad_rows}; "
            "mend the list or raise the limit"
        )
    if job.fail_on_empty and not items:
        raise UsageError(f"{job.input_text}: the list is empty, and fail_on_empty is set")
    splits = config.output.splits
    asked = {"caption": config.output.caption, "splits": splits if isinstance(splits, str) else ""}
    names = list(columns().types) if any(asked.values()) else []
    missing = [_missing(key, column, names) for key, column in asked.items() if column and column not in names]
    if missing:
        raise UsageError(missing)


def _missing(key: str, column: str, names: Sequence[str]) -> Problem:
    near = difflib.get_close_matches(column, names, 1)
    known = f'did you mean "{near[0]}"?' if near else f"its columns are {', '.join(names) or 'none'}."
    return Problem(where=f"[output] {key}", message=printable(f'the list has no column "{column}"; {known}'))


def _adopt_plan(config: Config, options: RunOptions, transform: Transform, ledger: Ledger) -> None:
    plan, settings = fingerprint(transform), plan_settings(transform)
    ledger.take_over_plans(plan, settings, keeps_images)
    change = ledger.compare_plan(plan)
    accepted = options.accept_config_change or options.fresh
    if change is not None and not accepted:
        raise refused_plan(config, change, settings)
    ledger.adopt_plan(plan, settings, recipe=recipe_of(transform), remake_stale=accepted)


def refused_plan(config: Config, change: PlanChange, settings: Mapping[str, Any]) -> UsageError:
    """Why images of two plans are not mixed, and what can be done."""
    what = "\n  ".join(describe_changes(change.settings, settings))
    return UsageError(
        f"{config.paths.output}: {change.stale} items were made by another plan:\n  {what}\n"
        "--accept-config-change makes them again; another --output keeps both."
    )
