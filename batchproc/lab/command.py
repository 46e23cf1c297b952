"""`batchproc bench --claims` and `--experiments`: the laboratory after the rounds of a bench, or by itself."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.bench.command import BenchResult, make_folder, run_bench
from batchproc.bench.interrupt import BenchStopped, Interrupt
from batchproc.bench.record import FILE_NAME, Record, new_folder
from batchproc.bench.summary import summarise_bench
from batchproc.bench.task import BenchOptions, Load, Tell, header_of, timestamp
from batchproc.config import Config
from batchproc.errors import BatchprocError, DiskError
from batchproc.explain.words import count, seconds, share
from batchproc.lab.results import Judged, Result, read_claims, read_results
from batchproc.lab.run import judge_claims, run_experiments
from batchproc.lock import RunLock
from batchproc.sink.atomic import point_atomically

NO_ROUNDS: dict[str, Sequence[Any]] = {"cases": [], "comparisons": [], "predictions": [], "notes": []}
VERDICTS = {
    "holds": "holds",
    "holds_here_not_there": "here, not there",
    "refuted": "refuted",
    "not_measured": "not measured",
}
WIDTH = 116
INDENT = " " * 22
BUSY_SHARE = 0.1


class ClaimsStopped(BatchprocError):
    """A signal ended the experiments before the last one."""

    def __init__(self, stopped: BenchStopped) -> None:
        self.exit_code = stopped.exit_code
        super().__init__("the experiments were stopped; they are short, and the same command makes them again")


def run_with_lab(load: Load, options: BenchOptions, tell: Tell, *, everything: bool) -> BenchResult:
    """A bench with the experiments (all, or those of the claims) after its rounds; alone where no rounds are wished.

    Call it in the main thread. Raises what `run_bench` raises, and `ClaimsStopped` after SIGINT or SIGTERM.
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
            raise ClaimsStopped(stopped) from None


def _keep(root: Path, header: dict[str, Any], found: Mapping[str, Any]) -> BenchResult:
    try:
        record = Record(folder=new_folder(root, datetime.now(UTC)), header=header)
        record.found = {**NO_ROUNDS, **found, "ended": timestamp(), "complete": True}
        record.save()
        point_atomically(root / "latest", record.folder)
    except OSError as error:
        raise DiskError(f"{root}: the bench cannot be kept: {error}") from error
    return BenchResult(facts=record.to_json(), folder=record.folder)


def summarise_with_lab(facts: Mapping[str, Any], folder: Path) -> str:
    """The closing text of a bench: its rounds, if it has any, and its claims."""
    (claims, _), (results, _) = read_claims(facts["claims"]), read_results(facts["experiments"])
    text = "\n".join(_claim_lines(claims, results))
    if facts["cases"]:
        return f"{summarise_bench(facts, folder)}\n\n{text}"
    heading = f"{facts['job']}: {count(len(results), 'controlled experiment')}, no rounds"
    return f"{heading}\n\n{text}\n\n  facts       {folder / FILE_NAME}"


def _claim_lines(claims: Sequence[Judged], results: Sequence[Result]) -> Iterator[str]:
    for claim in claims:
        yield f"  {claim.id:>2}  {VERDICTS[claim.verdict]:<16}  {claim.statement}"
        yield from textwrap.wrap(claim.meaning, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    counts = Counter(claim.verdict.value for claim in claims)
    yield ""
    yield f"  claims      {', '.join(f'{counts[key]} {word}' for key, word in VERDICTS.items() if counts[key])}"
    yield f"  took        {seconds(sum(one.seconds for one in results))}"
    busy = [one.others_cpu_share for one in results if (one.others_cpu_share or 0.0) > BUSY_SHARE]
    if busy:
        yield (
            f"  noise       in {count(len(busy), 'experiment')} other programs used up to "
            f"{share(max(filter(None, busy)))} of the machine: a quieter one gives narrower figures"
        )
    yield from (f"  note        {one.name}: {one.failure}" for one in results if one.failure)
