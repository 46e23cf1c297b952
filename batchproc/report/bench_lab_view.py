"""All charts of the experiments in the page's order; where one was not made, the reason stands in its place."""

from collections.abc import Callable
from dataclasses import replace

from batchproc.explain.words import count, share
from batchproc.report import bench_flip, bench_job_size_view, bench_payload_view, bench_waits_view, bench_worker_view
from batchproc.report.bench_files import Facts
from batchproc.report.bench_lab_chart import LabChart, not_measured
from batchproc.report.bench_numbers import Lab, Missing

BUSY = 0.1  # of the machine, as in the rule for the rounds of a bench
VIEWS: tuple[tuple[str, str, Callable[[Lab], LabChart]], ...] = (  # experiment, title, chart
    ("steps", bench_flip.TITLE, bench_flip.view_flip),
    ("workers", bench_waits_view.CORES_TITLE, bench_waits_view.view_cores),
    ("latency", bench_waits_view.WAITS_TITLE, bench_waits_view.view_waits),
    ("payload", bench_payload_view.TITLE, bench_payload_view.view_payload),
    ("job_size", bench_job_size_view.TITLE, bench_job_size_view.view_job_size),
    ("startup", bench_worker_view.START_TITLE, bench_worker_view.view_worker_start),
    ("memory", bench_worker_view.MEMORY_TITLE, bench_worker_view.view_worker_memory),
)


def view_lab(facts: Facts) -> list[LabChart]:
    """A chart per experiment, or why there is none; empty when no experiment was made at all."""
    lab = Lab(facts)
    return [_view(lab, *one) for one in VIEWS] if lab else []


def _view(lab: Lab, experiment: str, title: str, view: Callable[[Lab], LabChart]) -> LabChart:
    try:
        return replace(view(lab), noise=_noise(lab, experiment))
    except Missing as missing:
        return not_measured(title, str(missing))


def _noise(lab: Lab, experiment: str) -> str:
    """What else used the machine meanwhile."""
    others, again = lab.others(experiment), lab.made_again(experiment)
    if others is None:
        return "What else used the machine meanwhile is not known."
    text = f"Other programs used {share(others)} of the CPU meanwhile"
    text += f", {count(again, 'round')} {'was' if again == 1 else 'were'} made again" if again else ""
    return f"{text}: too much to read these figures closely." if others > BUSY else f"{text}."
