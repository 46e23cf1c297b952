"""All experiments by name: the question, who answers it, how long it may take, and whether the claims need it."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from batchproc.lab.batches import SIZES, Size
from batchproc.lab.experiments import cost, isolation, throughput
from batchproc.lab.results import ResultTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One controlled experiment. Killed after `limit_seconds`: then it is not measured."""

    name: str
    question: str
    run: Callable[[Size], ResultTable]
    limit_seconds: float = 60.0
    claims: bool = True

    def command(self, size: str) -> list[str]:
        """The command line of its process, at one of `SIZES`. Not `-m`: the workers would import our main module."""
        code = "from batchproc.lab.catalogue import main; main()"
        return [sys.executable, "-P", "-c", code, self.name, size]


def _experiment(
    run: Callable[[Size], ResultTable], question: str, limit_seconds: float = 60.0, *, claims: bool = True
) -> Experiment:
    return Experiment(name=run.__name__, question=question, run=run, limit_seconds=limit_seconds, claims=claims)


EXPERIMENTS = {one.name: one for one in (
    _experiment(throughput.python_alone, "How slow is Python alone, against C on the same pixels?"),
    _experiment(throughput.steps, "Which steps release the GIL, so that threads run them side by side?"),
    _experiment(throughput.own_gil, "Do two processes spin in Python side by side, and two threads not?"),
    _experiment(throughput.workers, "Up to how many workers does the rate grow?", 120.0, claims=False),
    _experiment(throughput.latency, "What do more workers gain, the longer the replies take?", 240.0),
    _experiment(throughput.payload, "What does handing over cost, and up to which payload do processes pay?", 120.0),
    _experiment(cost.startup, "How long until a thread, and a process, is ready?"),
    _experiment(cost.memory, "What does a further thread, or process, weigh?"),
    _experiment(cost.job_size, "From how many items on do processes repay their start?", 120.0, claims=False),
    _experiment(isolation.own_memory, "Does the parent see what a worker changes in memory?"),
    _experiment(isolation.lost_updates, "Do threads lose each other's updates without a lock?"),
    _experiment(isolation.through_queue, "Does each item leave the thread executor once, with no lock in its stage?"),
    _experiment(isolation.hang, "Who recovers from an item that never ends, and when?"),
    _experiment(isolation.crash, "What does a crash take with it?"),
)}  # fmt: skip


def main() -> None:
    """Makes the experiment that the command line names, in a process of its own, and prints its table as JSON.

    What hangs, crashes or leaks there concerns no other, and no bench.
    """
    name, size = sys.argv[1:3]
    json.dump(asdict(EXPERIMENTS[name].run(SIZES[size])), sys.stdout)
