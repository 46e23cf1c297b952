"""All experiments by name: the question, who answers it, how long it may take, and whether the claims need it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batchproc.bench.experiments import cost, faults, gil, network, pipe, sharing
from batchproc.bench.experiments.number import Number
from batchproc.bench.experiments.size import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One controlled experiment. Killed after `limit_seconds`: then it is not measured."""

    name: str
    question: str
    run: Callable[[Size], Iterator[Number]]
    limit_seconds: float = 60.0
    claims: bool = True


TABLE = (
    Experiment(
        name="python_alone", question="How slow is Python alone, against C on the same pixels?", run=gil.python_alone
    ),
    Experiment(
        name="steps", question="Which steps release the GIL, so that threads run them side by side?", run=gil.steps
    ),
    Experiment(
        name="own_gil", question="Do two processes spin in Python side by side, and two threads not?", run=gil.own_gil
    ),
    Experiment(
        name="workers",
        question="Up to how many workers does the rate grow?",
        run=gil.workers,
        limit_seconds=120.0,
        claims=False,
    ),
    Experiment(
        name="latency",
        question="What do more workers gain, the longer the replies take?",
        run=network.latency,
        limit_seconds=240.0,
    ),
    Experiment(
        name="payload",
        question="What does handing over cost, and from which payload on do processes not pay?",
        run=pipe.payload,
        limit_seconds=120.0,
    ),
    Experiment(name="startup", question="How long until a thread, and a process, is ready?", run=cost.startup),
    Experiment(name="memory", question="What does a further thread, or process, weigh?", run=cost.memory),
    Experiment(
        name="job_size",
        question="From how many items on do processes repay their start?",
        run=cost.job_size,
        limit_seconds=120.0,
        claims=False,
    ),
    Experiment(
        name="own_memory", question="Does the parent see what a worker changes in memory?", run=sharing.own_memory
    ),
    Experiment(
        name="lost_updates", question="Do threads lose each other's updates without a lock?", run=sharing.lost_updates
    ),
    Experiment(
        name="through_queue",
        question="Does every item come out of the thread executor once, with no lock in its stage?",
        run=sharing.through_queue,
    ),
    Experiment(name="hang", question="Who recovers from an item that never ends, and when?", run=faults.hang),
    Experiment(name="crash", question="What does a crash take with it?", run=faults.crash),
)
BY_NAME = {experiment.name: experiment for experiment in TABLE}
