"""The bench.json of benches that did not happen, concluded by the bench's own rules from times that a test wants."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from batchproc.bench.bench_json import BenchPrediction, BenchRound, CaseRun, parse_bench, to_json
from batchproc.bench.command import conclude
from batchproc.bench.spec import Case, make_alone_cases, make_cases, plan_comparisons
from batchproc.measure.samples import MachineUsage
from batchproc.record.run_parts import StageRecord
from batchproc.report.html import make_report
from tests.bench.fakes import NOISY, QUIET, STAGE, a_run
from tests.report.folder import Parsed, parse

SECONDS = {"serial": 1.0, "thread": 0.5, "process": 0.7}
MODEL = {"cpu_seconds": 0.001, "blocked_seconds": 0.02, "phi": 0.5, "ipc_worker_seconds": 0.0,
         "ipc_parent_seconds": 0.0001}  # fmt: skip
CALIBRATION = {
    "download": MODEL,
    "transform": MODEL | {"cpu_seconds": 0.016, "blocked_seconds": 0.0, "phi": 0.03},
    "phi_transform_low": 0.01,
    "phi_transform_high": 0.06,
    "glue_seconds": 0.0004,
    "origin_cpu_seconds": 0.0004,
    "cores": 2.0,
    "miss_of_its_own_run": 0.02,
    "text": "a picture takes 20 ms of waiting",
}
HOST = {"name": "vm", "system": "Linux", "machine": "x86_64", "cores": 2, "cores_online": 2, "python": "3.11.7",
        "implementation": "CPython", "gil": True, "start_method": "forkserver", "libraries": {}}  # fmt: skip
CONFIG = {"download": {"mode": "thread", "workers": 8}, "transform": {"mode": "process"}, "report": {"html": True}}


def a_bench(
    modes: Sequence[str] = ("serial", "thread", "process"),
    *,
    vary: Mapping[str, Sequence[Any]] | None = None,
    rounds: int = 10,
    disturbed: Sequence[int] = (),
    again: Sequence[int] = (),
    alone: bool = False,
    noise: float = 0.01,
    favourite: str = "thread+thread",
) -> dict[str, Any]:
    """Threads are twice as fast as serial in either stage, processes a bit less; `again`: rounds made twice."""
    cases = make_cases(modes, vary or {})
    cases += make_alone_cases(cases) if alone else ()
    rng, baseline = random.Random(7), cases[0].name
    named = {case.name: case for case in cases} | {f"{baseline} (again)": cases[0]}
    made = []
    for number in range(rounds + 1):
        for attempt in (1, 2) if number in again else (1,):
            bad = number in disturbed or (number in again and attempt == 1)
            runs = {name: _run(case, rng.gauss(0, noise), NOISY if bad else QUIET) for name, case in named.items()}
            made.append(BenchRound(number=number, attempt=attempt, order=tuple(runs), runs=runs))
    favourite = favourite if favourite in named else ""
    plan = plan_comparisons(cases, favourite)
    predictions = [_prediction(case, cases[0]) for case in cases]
    facts = {
        "schema": 1, "version": "1.0", "job": "demo", "started": "2026-11-22T11:33:49Z", "fingerprint": "ab" * 16,
        "settings": {"rounds": rounds, "seed": 20, "level": 0.05, "quick": rounds < 10}, "baseline": baseline,
        "baseline_again": f"{baseline} (again)", "makespan": {"figure": "line_seconds", "because": "all of the line"},
        "material": {"kind": "origin", "items": 100, "left_out": 3, "per_host": 32, "text": "100 pictures"},
        "host": HOST, "config": CONFIG, "calibration": CALIBRATION, "favourite": favourite, "plan": plan,
        "cold_start": {"outside_line_seconds": 0.42}, "rounds": made, "predictions": predictions,
        "outputs": {"identical": True}, "ended": "2026-11-22T11:40:00Z", "complete": True,
    }  # fmt: skip
    return to_json(conclude(parse_bench(facts), cases))


def page_of(facts: Mapping[str, Any], folder: Path) -> Parsed:
    """The page of a bench, taken apart."""
    (folder / "bench.json").write_text(json.dumps(facts))
    return parse(make_report(folder).read_text(encoding="utf-8"))


def _run(case: Case, noise: float, conditions: MachineUsage) -> CaseRun:
    stages = {stage: _stage(getattr(case, stage), case) for stage in ("download", "transform")}
    if case.alone:
        stages = {case.alone: stages[case.alone]}
    run = a_run(_seconds(case) * (1 + noise), conditions, per_worker_pss_bytes=8_000_000)
    return replace(run, stages=stages)


def _stage(mode: Any, case: Case) -> StageRecord:
    workers = 1 if mode == "serial" else int(dict(case.varied).get("transform.workers", 2))
    account = {"cpu": 1.0, "network": 0.8, "starved": 0.2 * workers, "startup": 0.01, "unexplained": -0.001}
    return replace(STAGE, mode=str(mode), workers=workers, account=account)


def _seconds(case: Case) -> float:
    if case.alone:
        return SECONDS[case.download]
    return SECONDS[case.download] + SECONDS[case.transform]


def _prediction(case: Case, baseline: Case) -> BenchPrediction:
    seconds, ratio = _seconds(case), _seconds(case) / _seconds(baseline)
    return BenchPrediction(case=case.name, rate_per_second=100 / seconds, seconds=seconds, ratio=ratio,
                           low=0.9 * ratio, high=1.1 * ratio, start_seconds=0.0, bound="cores",
                           because="all 2 cores are busy")  # fmt: skip
