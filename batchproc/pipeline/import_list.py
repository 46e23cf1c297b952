"""Before any work: the ledger is repaired, compared with the settings, and brought up to the list."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.config import Config, deciding_values
from batchproc.errors import DiskError, Problem, UsageError
from batchproc.explain.words import count
from batchproc.ledger import Imported, Ledger, PlanChange, Recovered, Repaired, holds_items
from batchproc.ledger.files import HasShard
from batchproc.pipeline.job_list import JobList
from batchproc.pipeline.types import Listing, RunOptions
from batchproc.record.run_json import DueAgain
from batchproc.redact import printable
from batchproc.signals import Counted, doing
from batchproc.sink import Layout
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
    imported = _import(config, ledger, options.listing or JobList.of(config, base_url, keep=True))
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
    repaired = ledger.repair(_look_in_bucket(config)) if options.repair else None
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


def _import(config: Config, ledger: Ledger, listing: Listing) -> Imported:
    """Reads the list into the ledger."""
    columns = Columns()
    with doing("importing the list, 0 lines so far"):  # its first line may be long in coming, from a pipe
        rows = listing.rows(columns, listing.memory(ledger.checkpoints()))
    listed = Counted(rows)
    with doing(lambda: f"importing the list, {count(listed.number, 'line')} so far"):
        return ledger.import_sources(
            listed,
            fingerprint=listing.fingerprint(),
            names=listing.names,
            keyed_by_id=bool(config.job.id_column),
            same_url=is_same_url,
            columns=columns,
            keep_rows=config.job.duplicates == "rows",
        )


def _look_in_bucket(config: Config) -> HasShard | None:
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
