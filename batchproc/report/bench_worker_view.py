"""What one more worker costs: memory and the time until it is ready, threads beside processes, every round shown."""

from collections.abc import Mapping

from batchproc.explain.words import seconds, significant, size
from batchproc.report.bench_charts import BarRow, case_bars
from batchproc.report.bench_lab_chart import LabChart, with_ends
from batchproc.report.bench_numbers import Figure, Lab, Missing
from batchproc.report.canvas import Label

MEMORY_TITLE = "Memory per further worker (PSS)"
START_TITLE = "Time until a worker is ready"
MB = 1e6


def view_worker_memory(lab: Lab) -> LabChart:
    """Raises `Missing`."""
    found = {f"a {mode}": lab.one("memory", f"{mode}_pss_bytes") for mode in ("thread", "process")}
    thread, process = found.values()
    sentence = (f"Each further process holds {with_ends(process, size)}, each further thread "
                f"{with_ends(thread, size)}, with one picture of its own: the whole process tree with five workers "
                f"less the same with one, by four.{_apart(thread, process, 'as much')}")  # fmt: skip
    rows = [BarRow(name=name, note=size(figure.value), parts=[(0, max(0.0, figure.value / MB), "cpu")],
                   points=[value / MB for value in figure.values]) for name, figure in found.items()]  # fmt: skip
    svg = case_bars(Label(name="worker-memory", title=MEMORY_TITLE, sentence=sentence), rows, "MB")
    return LabChart(title=MEMORY_TITLE, sentence=sentence, svg=svg, heads=["one more", "PSS"],
                    rows=[[name, with_ends(figure, size)] for name, figure in found.items()])  # fmt: skip


def view_worker_start(lab: Lab) -> LabChart:
    """Raises `Missing`."""
    found = {f"a {mode}": lab.one("startup", f"{mode}_seconds") for mode in ("thread", "process")}
    found |= _cold(lab)
    thread, process = (found[f"a {mode}"] for mode in ("thread", "process"))
    sentence = (f"A thread is ready after {with_ends(thread, seconds)}, a process after {with_ends(process, seconds)}, "
                f"of four asked for at once.{_apart(thread, process, 'as long')}")  # fmt: skip
    for figure in _cold(lab).values():
        sentence += f" The first process of a program takes {with_ends(figure, seconds)}, the fork server included."
    rows = [BarRow(name=name, note=seconds(figure.value), parts=[(0, 1000 * figure.value, "startup")],
                   points=[1000 * value for value in figure.values]) for name, figure in found.items()]  # fmt: skip
    svg = case_bars(Label(name="worker-start", title=START_TITLE, sentence=sentence), rows, "ms")
    return LabChart(title=START_TITLE, sentence=sentence, svg=svg, heads=["what", "ready after"],
                    rows=[[name, with_ends(figure, seconds)] for name, figure in found.items()])  # fmt: skip


def _cold(lab: Lab) -> Mapping[str, Figure]:
    try:
        return {"the first process": lab.one("startup", "cold_process_seconds")}
    except Missing:
        return {}


def _apart(thread: Figure, process: Figure, words: str) -> str:
    """How many times, where both are above 0 and their ends do not overlap."""
    if thread.value <= 0 or thread.ends[1] >= process.ends[0]:
        return " The two are not told apart." if thread.ends[1] >= process.ends[0] else ""
    return f" That is {significant(process.value / thread.value)} times {words}."
