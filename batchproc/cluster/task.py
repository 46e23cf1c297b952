"""The work on one part, on whichever machine: a process of its own does it, and what it made is published at once.

Nothing of an attempt can be seen before its manifest is committed, and only one attempt's ever is: rows and images wait
under names of the attempt's own, shards have names that stand for their content. So a worker that was taken for dead
and comes back does no harm, and one that is killed at any instant leaves a part that another may do.
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from msgspec import Struct, convert

from batchproc.cluster import part_process
from batchproc.cluster.part_process import Order
from batchproc.cluster.shard_plan import (
    FOLDER,
    MadeShard,
    PartManifest,
    PendingPart,
    form_of,
    manifest_name,
    parse_manifest,
)
from batchproc.cluster.shared_store import FolderStore, Store, move, open_store
from batchproc.config import Config, DownloadTable
from batchproc.errors import BatchprocError, ExitCode
from batchproc.measure.processes import usable_cores
from batchproc.sink import Layout

ORIGIN_ADDRESS = "127.0.0.1"
POLL_SECONDS = 0.1
AT_THE_END_SECONDS = 120.0  # for a run that was told to stop: its grace, its shards, its manifests
ENDED_WELL = {ExitCode.DONE, ExitCode.TOO_MANY_FAILED, ExitCode.LIMIT, ExitCode.TERMINATED}


class PartTask(Struct, frozen=True, kw_only=True):
    """What travels to a worker. `run`: the driver that handed it out.

    The config has secrets, and Dask logs the arguments of what fails.
    """

    config: Config
    run: str
    store: str
    plan: str
    columns: str
    names: tuple[str, ...]
    part: PendingPart
    seconds: float  # after which it returns what it has
    slots: Mapping[str, int]  # how many parts a machine works on at once, by its address

    def __repr__(self) -> str:
        return f"PartTask(run={self.run!r}, place={self.part.place})"


class PartOutcome(Struct, frozen=True, kw_only=True):
    """What came of an attempt: the part's manifest, or why there is none.

    `is_charged`: the part or its worker is to blame, not that somebody else ended.
    """

    place: tuple[int, int]
    worker: str = ""
    manifest: PartManifest | None = None
    reason: str = ""
    is_charged: bool = True


_stopped: set[str] = set()  # runs whose parts are to end, on this worker; adding is atomic


def stop_parts(run: str) -> None:
    """Parts of a run that this worker is at commit what they have, and no other of that run begins. From any thread."""
    _stopped.add(run)
    part_process.end_idle_processes(run)


def run_part(
    task: PartTask, *, worker: str, folder: str | None = None, is_ended: Callable[[], bool] = lambda: False
) -> PartOutcome:
    """Does one part and commits it; one that is committed already costs a look. Never raises a `BatchprocError`.

    `folder`: on a disk of this machine. `is_ended` is asked now and then whether nobody wants the result any more.
    """
    outcome = partial(PartOutcome, place=task.part.place, worker=worker)
    if task.run in _stopped:
        return outcome(reason="the run was stopped", is_charged=False)
    try:
        store = open_store(task.store)
        committed = _committed(store, task)
        if committed is None:
            with TemporaryDirectory(prefix="batchproc-part-", dir=folder, ignore_cleanup_errors=True) as own:
                committed = _attempt(task, store, Path(own), worker, is_ended)
    except (BatchprocError, OSError) as error:
        return outcome(reason=str(error), is_charged=task.run not in _stopped and not is_ended())
    return outcome(manifest=committed)


def _committed(store: Store, task: PartTask) -> PartManifest | None:
    content = store.get(manifest_name(task.plan, task.part.place))
    return None if content is None else parse_manifest(content)


def _attempt(
    task: PartTask, store: Store, folder: Path, worker: str, is_ended: Callable[[], bool]
) -> PartManifest:
    """One attempt; the manifest that stands in the end, whoever made it. Raises `BatchprocError` and OSError."""
    began = time.monotonic()
    lines = store.get_range(task.part.list_name, task.part.offset, task.part.size_bytes)
    (folder / part_process.LIST_NAME).write_bytes(lines)
    order = Order(
        config=part_config(task, folder / part_process.OUTPUT_NAME, cores=_cores(task, worker)),
        folder=folder,
        columns=task.columns,
        names=task.names,
        first_shard=task.part.first_shard,
        max_runs=max(1, task.config.job.max_runs_per_item - task.part.generation),
    )
    ended = _run(order, task, is_ended)
    if ended["record"] is None or ended["exit_code"] not in ENDED_WELL:
        raise BatchprocError(ended["reason"] or f"the run of this part ended with {ended['exit_code']}")
    manifest = _publish(task, store, order, ended, worker, time.monotonic() - began)
    name = manifest_name(task.plan, task.part.place)
    if not store.create(name, manifest.to_json()):
        standing = store.get(name)
        if standing is None:
            raise BatchprocError(f"{store.address}/{name}: was there, and is gone.")
        _withdraw(store, manifest)
        return parse_manifest(standing)
    place_images(store, manifest)
    return manifest


def _cores(task: PartTask, worker: str) -> int:
    """This machine's, shared out among the parts that it works on at once."""
    return max(1, usable_cores() // max(1, task.slots.get(machine_of(worker), 1)))


def machine_of(worker: str) -> str:
    """The machine's name in the address of a worker."""
    return urlsplit(worker).hostname or worker


def part_config(task: PartTask, output: Path, *, cores: int) -> Config:
    """The job as one machine does a part of it: what is of the whole is left to whoever puts the parts together."""
    config = task.config
    job = {
        "output": str(output), "state": "", "prune": False, "fail_on_empty": False, "exit_on_limit": False,
        "max_failed_ratio": 1.0, "max_deferred_ratio": 1.0, "max_failed": 0, "max_bad_rows": 0,
        "max_duration": task.seconds,
    }  # fmt: skip
    workers = config.transform.workers
    transform = {"workers": cores if workers in ("auto", 0) else workers}
    return config.model_copy(
        update={
            "job": config.job.model_copy(update=job),
            "transform": config.transform.model_copy(update=transform),
            "output": config.output.model_copy(update={"splits": {}, "metadata_parquet": False}),
            "report": config.report.model_copy(update={"html": False, "trace": False}),
            "download": _download_table(config),
            "metrics": config.metrics.model_copy(update={"textfile": "", "ping_url": ""}),
            "cluster": None,
            "origin": None,
        }
    )


def _download_table(config: Config) -> DownloadTable:
    """That of the job, which may fetch from the embedded origin, too; the driver runs that."""
    addresses = config.download.allow_addresses
    own = (ORIGIN_ADDRESS,) if config.origin else ()
    return config.download.model_copy(update={"allow_addresses": (*addresses, *own)})


def _run(order: Order, task: PartTask, is_ended: Callable[[], bool]) -> dict[str, Any]:
    """Has the part done, or kills what does it; what came of it. Raises `BatchprocError` where nothing did."""
    limit = time.monotonic() + task.seconds + order.config.job.grace + AT_THE_END_SECONDS
    process = part_process.take_process(task.run)
    answer, is_told = None, False
    try:
        process.send(order)
        while not process.has_ended(POLL_SECONDS) and time.monotonic() < limit and not is_ended():
            if task.run in _stopped and not is_told:
                process.stop()
                is_told = True
        answer = process.answer()
    finally:
        if answer is None or task.run in _stopped:
            told = process.end()
        else:
            part_process.keep_process(task.run, process)
            if task.run in _stopped:  # since it was asked: whoever stopped it did not find this one
                part_process.end_idle_processes(task.run)
    if answer is None:
        raise BatchprocError(f"the process of this part {told}")
    return answer


def _publish(
    task: PartTask, store: Store, order: Order, ended: dict[str, Any], worker: str, seconds: float
) -> PartManifest:
    """Sends what the run made, under names that nobody reads yet."""
    layout, attempt = Layout(output=order.config.paths.output), uuid4().hex
    part = f"{FOLDER}/{task.plan}/attempts/{task.part.name}-{attempt}"
    names = {"rows": f"{part}/metadata.jsonl", "failures": f"{part}/failures.jsonl"}
    store.put(names["rows"], layout.metadata_path)
    store.put(names["failures"], layout.failures_path)
    rest, rest_bytes = "", 0
    if ended["due"]:
        rest, path = f"{part}/rest.jsonl", order.folder / part_process.REST_NAME
        rest_bytes = path.stat().st_size
        store.put(rest, path)
    return PartManifest(
        plan=task.plan,
        number=task.part.number,
        generation=task.part.generation,
        attempt=attempt,
        worker=worker,
        exit_code=ended["exit_code"],
        seconds=seconds,
        **names,
        columns=form_of(task.columns),
        rest=rest,
        rest_bytes=rest_bytes,
        due=ended["due"],
        pending=ended["pending"],
        staged=_stage(store, layout, part),
        shards=tuple(_send_shards(store, layout)),
        record=ended["record"],
    )


def _stage(store: Store, layout: Layout, part: str) -> str:
    """Moves the images beside their places; empty where there are none."""
    if not isinstance(store, FolderStore) or not any(layout.images_folder.iterdir()):
        return ""
    staged = f"{part}/images"
    move(layout.images_folder, store.folder / staged)
    return staged


def _send_shards(store: Store, layout: Layout) -> list[MadeShard]:
    if not layout.shard_manifest_path.exists():
        return []
    made = convert(json.loads(layout.shard_manifest_path.read_bytes())["shards"], list[MadeShard])
    for shard in made:
        store.put(shard.name, layout.output / shard.name)
    return made


def place_images(store: Store, manifest: PartManifest) -> None:
    """Gives the images of a committed part their places. May be done again, by anyone, until it is done."""
    if not manifest.staged or not isinstance(store, FolderStore):
        return
    staged = store.folder / manifest.staged
    for folder in staged.glob("??"):
        place = store.folder / "images" / folder.name
        place.mkdir(parents=True, exist_ok=True)
        for name in os.listdir(folder):  # noqa: PTH208  # names, not paths: a tenth of the time
            with suppress(FileNotFoundError):  # another has just done it
                os.replace(f"{folder}/{name}", f"{place}/{name}")  # noqa: PTH105
    shutil.rmtree(staged, ignore_errors=True)


def sweep_attempts(store: Store, plan: str, committed: Mapping[str, str]) -> None:
    """Removes what other attempts at committed parts left. Of other parts one may be just before its commit.

    `committed`: the attempt by its part, as in `PartManifest.part`. Of a bucket nothing is listed, so it stays there.
    """
    if isinstance(store, FolderStore):
        for folder in (store.folder / FOLDER / plan / "attempts").glob("*"):
            part, _, attempt = folder.name.rpartition("-")
            if committed.get(part, attempt) != attempt:
                shutil.rmtree(folder, ignore_errors=True)


def _withdraw(store: Store, manifest: PartManifest) -> None:
    """Removes what an attempt made that came second; its shards are swept later: another may have made the same."""
    for name in (manifest.rows, manifest.failures, manifest.rest):
        if name:
            store.remove(name)
    if isinstance(store, FolderStore):
        shutil.rmtree((store.folder / manifest.rows).parent, ignore_errors=True)
