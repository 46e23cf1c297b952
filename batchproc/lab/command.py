"""`batchproc bench --claims` and `--experiments`: the laboratory after the rounds of a bench, or by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.bench.command import BenchResult, make_folder, run_bench
from batchproc.bench.record import Record, new_folder
from batchproc.bench.runner import BenchStopped, Interrupt
from batchproc.bench.task import BenchOptions, Load, Tell, header_of, timestamp
from batchproc.config import Config
from batchproc.errors import DiskError
from batchproc.lab.run import judge_claims, run_experiments
from batchproc.lock import RunLock
from batchproc.sink.atomic import point_atomically

LOST = "the experiments were stopped; they are short, and the same command makes them again"
NO_ROUNDS: dict[str, Sequence[Any]] = {"cases": [], "comparisons": [], "predictions": [], "notes": []}


def run_with_lab(load: Load, options: BenchOptions, tell: Tell, *, everything: bool) -> BenchResult:
    """A bench with the experiments (all, or those of the claims) after its rounds; alone where no rounds are wished.

    Call it in the main thread. Raises what `run_bench` raises, and `BenchStopped` after SIGINT or SIGTERM.
    """

    def measure(config: Config, interrupt: Interrupt) -> dict[str, Any]:
        results = run_experiments(interrupt, tell, everything=everything)
        claims = judge_claims(results, config)
        return {"experiments": [asdict(one) for one in results], "claims": [asdict(one) for one in claims]}

    if options != BenchOptions():
        return run_bench(load, options, tell, measure)
    config, _ = load(())
    root = config.paths.output / "bench"
    make_folder(root)
    header = header_of(config)
    with RunLock(root / "lock"), Interrupt() as interrupt:
        try:
            return _keep(root, header, measure(config, interrupt))
        except BenchStopped as stopped:
            raise BenchStopped(stopped.number, LOST) from None


def _keep(root: Path, header: dict[str, Any], found: Mapping[str, Any]) -> BenchResult:
    try:
        record = Record(folder=new_folder(root, datetime.now(UTC)), header=header)
        record.found = {**NO_ROUNDS, **found, "ended": timestamp(), "complete": True}
        record.save()
        point_atomically(root / "latest", record.folder)
    except OSError as error:
        raise DiskError(f"{root}: the bench cannot be kept: {error}") from error
    return BenchResult(facts=record.to_json(), folder=record.folder)
