"""Runs that did not happen, with the times that a test wants."""

from collections.abc import Callable, Iterable
from typing import Any

from batchproc.bench.bench_json import SCHEMA, Bench, BenchRound, CaseRun
from batchproc.bench.spec import Case, Schedule, make_cases
from batchproc.measure.samples import MachineUsage
from batchproc.record.run_parts import Percentiles, StageRecord

QUIET = MachineUsage(others_cpu_share=0.01, steal_share=0.0, throttled_seconds=0.0)
NOISY = MachineUsage(others_cpu_share=0.4, steal_share=0.0, throttled_seconds=0.0)
STAGE = StageRecord(
    mode="thread",
    workers=2,
    account={"cpu": 1.5, "starved": 0.5},
    cpu_per_item_seconds=0.015,
    utilisation=0.75,
    service_seconds=Percentiles(p50=0.02),
    startup_per_worker_seconds=0.01,
)


def a_run(seconds: float = 1.0, conditions: MachineUsage = QUIET, **changes: Any) -> CaseRun:
    """A run of 100 pictures."""
    facts: dict[str, Any] = {
        "seconds": seconds,
        "command_seconds": seconds + 0.5,
        "startup_seconds": 0.02,
        "done": 100,
        "failed": 0,
        "conditions": conditions,
        "origin_cpu_seconds": 0.1,
        "peak_pss_bytes": 50_000_000,
        "per_worker_pss_bytes": None,
        "stages": {"download": STAGE, "transform": STAGE},
        "outputs_sha256": "00",
    }
    return CaseRun(**{**facts, **changes})


class FakeRunner:
    """Answers with what `answer` says of the n-th call, from 0; remembers the cases it was asked for."""

    def __init__(self, answer: Callable[[Case, int], CaseRun] = lambda case, call: a_run()) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def __call__(self, case: Case) -> CaseRun:
        result = self._answer(case, len(self.asked))
        self.asked.append(case.name)
        return result


def two_cases() -> tuple[Case, ...]:
    return make_cases(["thread+thread"], {})


def schedule_of(cases: Iterable[Case]) -> Schedule:
    names = tuple(case.name for case in cases)
    return Schedule(cases=names, baseline=names[0], seed=1)


def a_bench_of(rounds: Iterable[BenchRound], **changes: Any) -> Bench:
    """A bench of the two cases with these rounds."""
    again = "serial+serial (again)"
    return Bench(schema=SCHEMA, rounds=tuple(rounds), baseline="serial+serial", baseline_again=again, **changes)


def a_round(number: int, attempt: int = 1, conditions: MachineUsage = QUIET, **seconds: float) -> BenchRound:
    """A complete round; names as `thread_thread`, and `again` for the baseline's second run."""
    names = {_name(name): a_run(value, conditions) for name, value in seconds.items()}
    return BenchRound(number=number, attempt=attempt, order=tuple(names), runs=names)


def _name(word: str) -> str:
    return "serial+serial (again)" if word == "again" else word.replace("_", "+")
