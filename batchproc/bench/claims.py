"""The textbook's thirteen statements, each judged by this machine's own numbers: a table and a pure function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from batchproc.bench import judgements
from batchproc.bench.evidence import Evidence, Job, NotMeasured
from batchproc.bench.experiments.number import Number
from batchproc.bench.judgements import Finding, Verdict

Judge: TypeAlias = Callable[[Evidence, Job], Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement, the experiments it needs, and how it is judged."""

    id: int
    statement: str
    needs: tuple[str, ...]
    judge: Judge


def _claim(number: int, statement: str, needs: str, judge: Judge) -> Claim:
    return Claim(id=number, statement=statement, needs=tuple(needs.split()), judge=judge)


CLAIMS = (
    _claim(
        1,
        "Python alone is slow; parallelism buys it back.",
        "python_alone steps latency",
        judgements.parallelism_buys_back,
    ),
    _claim(2, "Threads pay for I/O-bound work.", "latency", judgements.threads_pay_for_waits),
    _claim(3, "Threads do not pay for CPU-bound work.", "steps", judgements.threads_do_not_pay_for_cpu),
    _claim(
        4, "Processes give true parallelism on several cores.", "steps", judgements.processes_are_parallel
    ),
    _claim(5, "Each process has its own GIL.", "own_gil", judgements.each_process_has_its_gil),
    _claim(
        6,
        "Each process has its own memory: a change in a child is not seen by the parent.",
        "own_memory",
        judgements.each_process_has_its_memory,
    ),
    _claim(7, "Processes cost more memory.", "memory", judgements.processes_weigh_more),
    _claim(8, "Inter-process communication has a cost.", "payload", judgements.pipes_cost),
    _claim(9, "Threads start faster and are lighter.", "startup memory", judgements.threads_start_faster),
    _claim(
        10,
        "Threads share memory: handing over is free, and unsynchronised updates lose writes.",
        "payload lost_updates",
        judgements.threads_share,
    ),
    _claim(11, "A process can be killed, a thread cannot.", "hang", judgements.a_process_can_be_killed),
    _claim(
        12,
        "A dead process takes one item with it; a crash in a thread takes the run.",
        "crash",
        judgements.a_crash_takes_one_item,
    ),
    _claim(
        13,
        "A queue between producers and consumers removes the need for manual locks.",
        "lost_updates through_queue",
        judgements.queues_remove_locks,
    ),
)


def judge(
    claim: Claim, numbers: Mapping[str, Sequence[Number]], failures: Mapping[str, str], job: Job
) -> dict[str, Any]:
    """An element of `claims` in bench.json. `numbers` and `failures` go by experiment."""
    evidence = Evidence(numbers=numbers, failures=failures)
    try:
        finding = claim.judge(evidence, job)
    except NotMeasured as error:
        finding = Finding(verdict=Verdict.NOT_MEASURED, meaning=str(error))
    return {
        "id": claim.id,
        "statement": claim.statement,
        "verdict": finding.verdict.value,
        "meaning": finding.meaning,
        "needs": list(claim.needs),
        "numbers": [number.to_json() for number in evidence.used],
    }
