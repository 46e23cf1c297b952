"""A job's ledger is lost and made anew, as `batchproc rebuild` does it; what the old one knew is kept to compare."""

import operator
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from msgspec.structs import replace

from batchproc.ledger import Ledger, Restored, RestoreRules, put_in_place, replacement
from batchproc.ledger.reader import LedgerView
from batchproc.model import Item, ListedItem, Outcome, OutputImage, Source
from batchproc.sink import read_manifest
from tests.ledger.job import NOW, PLAN, Job, listing

# Everything a manifest tells; `attempts`, `runs` and the number of the last run are known to the ledger alone.
KNOWN = (
    "key, line, url, extra_json, state, due, plan, stage, code, message, hint, before_absent, temporary, suffix, "
    "stale_suffix, status_code, final_url, etag, last_modified, size_bytes, width_px, height_px, original_width_px, "
    "original_height_px, original_format, sha256, source_sha256, image_notes"
)


def done_rows(job: Job) -> list[Any]:
    with closing(sqlite3.connect(job.layout.ledger_path)) as connection:
        return connection.execute(f"SELECT {KNOWN} FROM item WHERE state = 'done' ORDER BY id").fetchall()


def damage(job: Job) -> None:
    """Leaves a file of which SQLite can read nothing."""
    job.layout.ledger_path.write_bytes(b"\xaa" * 8192)


def rebuild(job: Job, names: Sequence[str], plan: str = PLAN, rows: Sequence[ListedItem] = ()) -> Restored:
    """`rows`: the list, where it is keyed by ids; else the `names` are."""
    path = job.layout.ledger_path
    with (
        replacement(path) as new,
        Ledger.open(new, images=job.images, reserve_path=job.layout.reserve_path) as ledger,
    ):
        ledger.adopt_plan(plan)
        ledger.import_sources(rows or listing(names), keyed_by_id=bool(rows))
        rule = RestoreRules(keyed_by_id=bool(rows), same_url=operator.eq)
        restored = ledger.restore(
            read_manifest(job.layout.metadata_path), read_manifest(job.layout.failures_path), rule
        )
    put_in_place(path)
    return restored


def run(
    job: Job, names: Sequence[str], outcome: Callable[[Source], Outcome] | None = None, plan: str = PLAN
) -> list[Source]:
    """One run with this list; returns what it worked on."""
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan(plan)
        ledger.import_sources(listing(names))
        ledger.begin_run("run", NOW)
        work = list(ledger.work())
        for source in work:
            ledger.record((outcome or job.outcome)(source))
        job.end(ledger)
    return work


def redirected(item: Item[OutputImage], url: str) -> Outcome:
    """The same image, found under another URL, by a server without validators."""
    value = item.value
    return replace(item, value=replace(value, reply=replace(value.reply, final_url=url, etag="", last_modified="")))


def states(job: Job) -> dict[str, str]:
    with LedgerView.open_view(job.layout.ledger_path) as view:
        return dict(view._fetch("SELECT url, state FROM item ORDER BY id"))
