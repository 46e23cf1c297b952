"""`batchproc bench --claims` and `--experiments`: the laboratory after the rounds of a bench, or by itself."""

from dataclasses import replace
from datetime import UTC, datetime

from batchproc.bench.bench_json import Bench
from batchproc.bench.command import BenchResult, finish_bench, make_folder, run_bench
from batchproc.bench.runner import BenchStopped, Interrupt
from batchproc.bench.spec import BenchOptions, Load, Notify, new_bench, new_folder
from batchproc.config import Config
from batchproc.errors import DiskError
from batchproc.lab.run import judge_claims, run_experiments
from batchproc.lock import RunLock

LOST = "the experiments were stopped; they are short, and the same command makes them again"


def run_with_lab(load: Load, options: BenchOptions, notify: Notify, *, everything: bool) -> BenchResult:
    """A bench with the experiments (all, or those of the claims) after its rounds; alone where no rounds are wished.

    Call it in the main thread. Raises what `run_bench` raises, and `BenchStopped` after SIGINT or SIGTERM.
    """

    def add_experiments(bench: Bench, config: Config, interrupt: Interrupt) -> Bench:
        results = run_experiments(interrupt, notify, everything=everything)
        return replace(bench, experiments=tuple(results), claims=tuple(judge_claims(results, config)))

    if options != BenchOptions():
        return run_bench(load, options, notify, add_experiments)
    config, _ = load(())
    root = config.paths.output / "bench"
    make_folder(root)
    bench = new_bench(config)
    with RunLock(root / "lock"), Interrupt() as interrupt:
        try:
            bench = add_experiments(bench, config, interrupt)
            return finish_bench(bench, new_folder(root, datetime.now(UTC)))
        except BenchStopped as stopped:
            raise BenchStopped(stopped.number, LOST) from None
        except OSError as error:
            raise DiskError(f"{root}: the bench cannot be kept: {error}") from error
