"""`batchproc bench --claims`: the experiments after the rounds or, where no rounds were asked for, by themselves."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.bench.command import BenchResult, run_bench
from batchproc.bench.interrupt import BenchStopped, Interrupt
from batchproc.bench.lab import run_lab
from batchproc.bench.record import Record, new_folder
from batchproc.bench.task import BenchOptions, Load, Tell
from batchproc.config import Config, resolved
from batchproc.errors import BatchprocError, DiskError, UsageError
from batchproc.lock import RunLock
from batchproc.measure.machine import describe_machine
from batchproc.sink.atomic import point_atomically
from batchproc.version import VERSION

NO_ROUNDS: dict[str, Sequence[Any]] = {"cases": [], "comparisons": [], "predictions": [], "notes": []}


class ClaimsStopped(BatchprocError):
    """A signal ended the experiments before the last one."""

    def __init__(self, stopped: BenchStopped) -> None:
        self.exit_code = stopped.exit_code
        super().__init__("the experiments were stopped; they are short, and the same command makes them again")


def run_with_claims(load: Load, options: BenchOptions, tell: Tell) -> BenchResult:
    """A bench as `run_bench`; without rounds when only claims or experiments are wished."""
    asks_for_rounds = options != BenchOptions(claims=options.claims, experiments=options.experiments)
    if asks_for_rounds or not (options.claims or options.experiments):
        return run_bench(load, options, tell)
    return run_claims_alone(load, tell, everything=options.experiments)


def run_claims_alone(load: Load, tell: Tell, *, everything: bool) -> BenchResult:
    """Makes the experiments, all or what the claims need, and judges the claims; bench.json then has no rounds.

    Call it in the main thread. Raises `UsageError`, `DiskError`, `LockHeldError` when another bench of this job is
    under way, and `ClaimsStopped` after SIGINT or SIGTERM.
    """
    config, _ = load(())
    root = config.paths.output / "bench"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{root}: cannot be made: {error.strerror}") from error
    started = _now()
    with RunLock(root / "lock"), Interrupt() as interrupt:
        try:
            found = run_lab(config, interrupt, tell, everything=everything)
        except BenchStopped as stopped:
            raise ClaimsStopped(stopped) from None
        return _keep(root, _header(config, started), found)


def _keep(root: Path, header: dict[str, Any], found: Mapping[str, Any]) -> BenchResult:
    try:
        record = Record(folder=new_folder(root, datetime.now(UTC)), header=header)
        record.found = {**NO_ROUNDS, **found, "ended": _now(), "complete": True}
        record.save()
        point_atomically(root / "latest", record.folder)
    except OSError as error:
        raise DiskError(f"{root}: the bench cannot be kept: {error}") from error
    return BenchResult(facts=record.to_json(), folder=record.folder)


def _header(config: Config, started: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "job": config.job.name,
        "started": started,
        "host": describe_machine(),
        "config": resolved(config),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
