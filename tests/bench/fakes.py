"""Runs that did not happen: results with the times that a test wants."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from batchproc.bench.cases import Case, make_cases
from batchproc.bench.record import Record, Round
from batchproc.bench.result import CaseResult
from batchproc.bench.schedule import Conditions, Schedule

QUIET = Conditions(others_cpu_share=0.01, steal_share=0.0, throttled_seconds=0.0)
NOISY = Conditions(others_cpu_share=0.4, steal_share=0.0, throttled_seconds=0.0)
STAGE: dict[str, Any] = {
    "mode": "thread",
    "workers": 2,
    "account": {"cpu": 1.5, "starved": 0.5},
    "cpu_per_item_seconds": 0.015,
    "utilisation": 0.75,
    "service_seconds": {"p50": 0.02},
    "ipc_bytes_per_item": 0,
    "startup_per_worker_seconds": 0.01,
}


def a_result(seconds: float = 1.0, conditions: Conditions = QUIET, **changes: Any) -> CaseResult:
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
    return CaseResult(**{**facts, **changes})


class FakeRunner:
    """Answers with what `answer` says of the n-th call, from 0; remembers the cases it was asked for."""

    def __init__(self, answer: Callable[[Case, int], CaseResult] = lambda case, call: a_result()) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def __call__(self, case: Case) -> CaseResult:
        result = self._answer(case, len(self.asked))
        self.asked.append(case.name)
        return result


def two_cases() -> tuple[Case, ...]:
    return make_cases(["thread+thread"], {})


def schedule_of(cases: Iterable[Case]) -> Schedule:
    names = tuple(case.name for case in cases)
    return Schedule(cases=names, baseline=names[0], seed=1)


def a_record(folder: Path) -> Record:
    return Record(folder=folder, header={"fingerprint": "f", "predictions": [], "favourite": "", "plan": []})


def a_round(number: int, attempt: int = 1, conditions: Conditions = QUIET, **seconds: float) -> Round:
    """A complete round; names as `thread_thread`, and `again` for the baseline's second run."""
    names = {_name(name): a_result(value, conditions) for name, value in seconds.items()}
    return Round(number=number, attempt=attempt, order=tuple(names), runs=names)


def _name(word: str) -> str:
    return "serial+serial (again)" if word == "again" else word.replace("_", "+")
