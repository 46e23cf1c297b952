"""The experiments of a bench that did not happen: tables of which a test knows what must follow."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from batchproc.lab.experiments import BLUR, LOOP, MEDIAN
from batchproc.lab.laboratory import add_predictions
from batchproc.lab.results import (
    Crossing,
    Result,
    ResultTable,
    SeriesKind,
    crossings,
    gained,
    gil_models,
    measured,
    payload_that_eats,
    waiting_models,
)

JITTER = (0.99, 1.0, 1.01)  # three rounds: too few for an interval, so least and most stand for it


def rounds(value: float, spread: Sequence[float] = JITTER) -> list[float]:
    return [value * each for each in spread]


def ratio(value: float) -> tuple[list[float], list[float]]:
    """Two lists of seconds, the first of which is `value` times as fast."""
    return [each / value for each in reversed(JITTER)], [1.0] * 3


def result(name: str, table: ResultTable | None, *, failure: str | None = None, others: float | None = 0.01) -> Result:
    return Result(name=name, question=f"What of {name}?", table=table, failure=failure, seconds=3.0,
                  others_cpu_share=others)  # fmt: skip


def steps(*, blur: float = 1.0, median: float = 0.5, python: float = 0.8, cores: int = 2) -> ResultTable:
    """Threads' speed against processes', by step. Serial takes 4 ms; two processes are twice as fast."""
    speeds = {BLUR: blur, MEDIAN: median, LOOP: python}
    against = gained("threads against processes", {step: ratio(each) for step, each in speeds.items()}, SeriesKind.MAIN,
                     sides=("processes faster", "threads faster"))  # fmt: skip
    series = (against, measured("serial", "s/item", {step: rounds(0.004) for step in speeds}, SeriesKind.FIGURE),
              gained("threads gain", {step: ratio(1.0) for step in speeds}),
              gained("processes gain", {step: ratio(2.0) for step in speeds}))  # fmt: skip
    return ResultTable(x="step", series=(*series, *gil_models(against, cores)),
                 facts={"cores": cores, "rounds_made_again": 2})  # fmt: skip


def workers() -> ResultTable:
    """5 ms of CPU per image on two cores: 400/s at most; threads get nearly there with two, processes to 360/s."""
    rates = {"threads": {1.0: 200, 2.0: 396, 8.0: 390}, "processes": {1.0: 190, 2.0: 360, 8.0: 350}}
    return ResultTable(x="workers", facts={"cores": 2, "cpu_seconds_per_item": 0.005}, series=tuple(
        measured(name, "images/s", {n: rounds(rate) for n, rate in each.items()}) for name, each in rates.items()
    ))  # fmt: skip


def latency() -> ResultTable:
    """1 ms of CPU: 1,000/s without latency. Threads multiply the rate as long as they wait."""
    rates = {}
    for wait in (0.0, 20.0, 100.0):
        one = 1 / (0.001 + wait / 1000)
        values = {n: rounds(one * (n if wait else 1)) for n in (1.0, 2.0, 8.0)} | {1.0: [one] * 3}
        rates[wait] = measured(f"{wait:g} ms", "replies/s", values)
    models, meetings = waiting_models({**rates, 0.0: replace(rates[0.0], cells=rates[0.0].cells[:1])}, 2000.0)
    series = (*rates.values(), *models)
    return ResultTable(x="download threads", x_unit="threads", series=series, crossings=tuple(meetings))


def payload(*, processes_at_0: float = 0.002) -> ResultTable:
    """Threads take 4 ms whatever the payload; processes 2 ms and 1 ms more for each MB, as their echo does."""
    sizes = (0.0, 1e6, 4e6)
    work = {"threads": {x: rounds(0.004) for x in sizes},
            "processes": {x: rounds(0.002 + x * 1e-9) for x in sizes} | {0.0: rounds(processes_at_0)}}  # fmt: skip
    echo = {"threads": {x: rounds(20e-6) for x in sizes},
            "processes": {x: rounds(120e-6 + x * 1e-9) for x in sizes}}  # fmt: skip
    series = [measured(f"{kind}, {mode}", "s/item", values, draw)
              for kind, modes, draw in (("work", work, SeriesKind.MAIN), ("no work", echo, SeriesKind.CONTROL))
              for mode, values in modes.items()]  # fmt: skip
    met = Crossing(first="work, threads", second="work, processes",
                   measured=crossings(series[0].curve, series[1].curve),
                   predicted=payload_that_eats(0.002, {x: x * 1e-9 for x in sizes}),
                   is_predicted=True)  # fmt: skip
    return ResultTable(x="payload", x_unit="bytes", series=tuple(series), crossings=(met,))


def startup() -> ResultTable:
    """1 ms for a thread, 21 ms for a process."""
    ready = {"a thread": rounds(0.001), "a process": rounds(0.021), "the first process": rounds(0.09)}
    return ResultTable(x="worker", series=(measured("ready after", "s", ready),))


def job_size(*, start_seconds: float = 0.02, last: float | None = None) -> ResultTable:
    """4 ms per item in threads and serial, 2 ms in processes after their start: 10 items repay 20 ms."""
    sizes = (1.0, 4.0, 16.0, 64.0)
    threads = {n: rounds(0.004 * n) for n in sizes}
    processes = {n: rounds(start_seconds + 0.002 * n) for n in sizes} | ({64.0: rounds(last)} if last else {})
    series = (measured("threads", "s", threads), measured("processes", "s", processes),
              measured("serial", "s", threads, SeriesKind.CONTROL))  # fmt: skip
    met = Crossing(first="threads", second="processes", measured=crossings(series[0].curve, series[1].curve))
    return ResultTable(x="items", x_unit="items", series=series, crossings=(met,))


def memory() -> ResultTable:
    """2 MB per thread, 5 MB per process."""
    return ResultTable(x="worker", series=(
        measured("one more weighs (PSS)", "bytes", {"a thread": rounds(2e6), "a process": rounds(5e6)}),
    ))  # fmt: skip


def all_of_them() -> dict[str, ResultTable]:
    """Every experiment that has a chart with more than its own measurements in it, with what they predict."""
    return add_predictions({"steps": steps(), "workers": workers(), "latency": latency(), "payload": payload(),
                            "startup": startup(), "memory": memory(), "job_size": job_size()})  # fmt: skip


def as_json(tables: Mapping[str, ResultTable], others: float | None = 0.01) -> list[dict[str, Any]]:
    """The key `experiments` of bench.json."""
    return [to_builtins(result(name, table, others=others)) for name, table in tables.items()]
