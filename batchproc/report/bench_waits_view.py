"""Waiting and computing against workers: when more workers stop helping, and which ceiling stops them."""

from collections.abc import Mapping, Sequence
from statistics import median

from batchproc.explain.words import cores, seconds, share, significant
from batchproc.report.bench_crossings import value_at, workers_that_fill
from batchproc.report.bench_curves import Axis, Meeting, Model, Trace, curve_chart
from batchproc.report.bench_files import times
from batchproc.report.bench_flip import find_flips
from batchproc.report.bench_lab_chart import LabChart, all_points, table, with_ends
from batchproc.report.bench_numbers import Figure, Lab, Missing
from batchproc.report.canvas import Label

WAITS_TITLE = "Download: rate against workers, for each latency"
CORES_TITLE = "GaussianBlur: rate against workers, with its ceilings"
PROCESSES = 8  # of the latency experiment
MOST_WORKERS = 2000  # the axis ends here; whoever has a crossover beyond it is told in words
NEAR = 3.0  # times the cores' ceiling: a higher one is told, not drawn
DOUBLINGS = tuple(2.0**power for power in range(12))

Curve = Mapping[float, Figure]


def view_waits(lab: Lab) -> LabChart:
    """Rates by latency and workers, n/(W + c) beside them, and where the rate without latency stops them."""
    rates = waiting_rates(lab)
    one = lab.curve("latency", "one_worker_seconds")
    if 0.0 not in rates:
        raise Missing("without a latency of 0 ms there is nothing to hold the others against")
    roof = max(figure.value for figure in rates[0.0].values())
    filled = {wait: workers_that_fill(roof, one[wait].value) for wait in rates if wait > 0}
    meetings = [Meeting(name=_whole(n), x=n, y=roof, is_predicted=True)
                for n in filled.values() if 1 < n <= MOST_WORKERS]  # fmt: skip
    most = max([meeting.x for meeting in meetings] + [max(max(curve) for curve in rates.values())])
    traces = [Trace(name=f"{wait:g} ms, measured", points=all_points(curve), look=at)
              for at, (wait, curve) in enumerate(rates.items())]  # fmt: skip
    models = [Model(name="" if at else "n/(W + c)", role="quiet", points=_until(n, one[wait].value, most))
              for at, (wait, n) in enumerate(filled.items())]  # fmt: skip
    models.append(Model(name=f"no wait: {significant(roof)}/s", points=[(1.0, roof), (most, roof)], dashes=1))
    sentence = _waits_sentence(rates, one, roof, filled)
    label = Label(name="waits", title=WAITS_TITLE, sentence=sentence)
    svg = curve_chart(label, Axis(name="download threads n", write=_whole, ticks=_doublings(most)),
                      Axis(name="replies per second", write=_rate), traces, models, meetings)  # fmt: skip
    places = sorted({n for curve in rates.values() for n in curve})
    rows = table(places, lambda n: f"{n:g}", [(curve, _rate) for curve in rates.values()])
    processes = _process_rates(lab, one)
    if processes:
        rows.append([f"{PROCESSES} processes", *(with_ends(processes[wait], _rate) if wait in processes else
                                                 "not measured" for wait in rates)])  # fmt: skip
    heads = ["threads", *(f"at {wait:g} ms" for wait in rates)]
    return LabChart(title=WAITS_TITLE, sentence=sentence, svg=svg, heads=heads, rows=rows)


def waiting_rates(lab: Lab) -> dict[float, dict[float, Figure]]:
    """Latency in ms -> threads -> replies per second, round by round. Raises `Missing`."""
    one = lab.curve("latency", "one_worker_seconds")
    found = {wait: {1.0: _rates(figure, [1.0] * len(figure.values))} for wait, figure in one.items()}
    for name in lab.names("latency"):
        workers = name.removeprefix("threads_").removesuffix("_gain")
        if name == f"threads_{workers}_gain" and workers.isdecimal():
            for wait, gained in lab.curve("latency", name).items():
                if wait in one:
                    found[wait][float(workers)] = _rates(one[wait], gained.values)
    return found


def _process_rates(lab: Lab, one: Curve) -> dict[float, Figure]:
    """Latency -> replies per second of eight processes; empty when they were not measured."""
    try:
        gains = lab.curve("latency", f"processes_{PROCESSES}_gain")
    except Missing:
        return {}
    return {wait: _rates(one[wait], gained.values) for wait, gained in gains.items() if wait in one}


def view_cores(lab: Lab) -> LabChart:
    """The rate of a step that releases the GIL against workers, with the ceilings that its CPU per item draws."""
    rates = {"threads": lab.curve("workers", "thread.rate"), "processes": lab.curve("workers", "process.rate")}
    cpu, usable = lab.one("workers", "serial_cpu_seconds").value, lab.one("workers", "cores").value
    places = sorted({n for curve in rates.values() for n in curve})
    ceilings = {"cores": usable / cpu} | _gil_ceiling(lab, cpu, round(usable))
    models = [Model(name="n workers: n/c", points=[(n, n / cpu) for n in _between(places[0], usable)], role="quiet")]
    near = {name: rate for name, rate in ceilings.items() if rate < NEAR * ceilings["cores"]}
    models += [Model(name=f"{_ceiling(name, usable)}: {significant(rate)}/s", dashes=1 + at,
                     points=[(places[0], rate), (places[-1], rate)])
               for at, (name, rate) in enumerate(near.items())]  # fmt: skip
    traces = [Trace(name=f"{name}, measured", points=all_points(curve), look=at)
              for at, (name, curve) in enumerate(rates.items())]  # fmt: skip
    sentence = _cores_sentence(rates, cpu, usable, ceilings)
    label = Label(name="cores", title=CORES_TITLE, sentence=sentence)
    svg = curve_chart(label, Axis(name="workers n", write=_whole, ticks=places),
                      Axis(name="pictures per second", write=_rate), traces, models)  # fmt: skip
    rows = table(places, lambda n: f"{n:g}", [(curve, _rate) for curve in rates.values()])
    return LabChart(title=CORES_TITLE, sentence=sentence, svg=svg, heads=["workers", *rates], rows=rows)


def _rates(one: Figure, gains: Sequence[float]) -> Figure:
    values = tuple(gained / each for each, gained in zip(one.values, gains, strict=False))
    return Figure(value=median(values), low=None, high=None, values=values)


def _until(workers: float, one_seconds: float, most: float) -> list[tuple[float, float]]:
    """The line n/(W + c) up to where it is stopped."""
    end = min(workers, most)
    return [(n, n / one_seconds) for n in (1.0, max(1.0, end))]


def _between(low: float, high: float) -> list[float]:
    return [low, max(low, high)]


def _doublings(most: float) -> list[float]:
    found = [n for n in DOUBLINGS if n <= most]
    return found if len(found) <= 8 else found[::2]


def _waits_sentence(rates: Mapping[float, Mapping[float, Figure]], one: Curve, roof: float,
                    filled: Mapping[float, float]) -> str:  # fmt: skip
    parts = []
    for wait, curve in rates.items():
        if wait > 0:
            most = max(curve)
            parts.append(f"{most:g} threads {times(curve[most].value / curve[1.0].value)} at {wait:g} ms")
    off = [abs(n / one[wait].value / figure.value - 1) for wait, curve in rates.items() if wait > 0
           for n, figure in curve.items() if n > 1 and n / one[wait].value < roof]  # fmt: skip
    told = f"{'; '.join(parts)}, against one. " if parts else ""
    told += f"Where waiting binds, n/(W + c) is off by {share(median(off))} (median). " if off else ""
    stops = ", ".join(f"{_whole(n)} threads at {wait:g} ms" for wait, n in filled.items())
    end = (f"The CPU, the test server's own included, stops it at {significant(roof)}/s, the best rate without "
           "latency")  # fmt: skip
    return f"{told}{end}{f': by the model from {stops} on' if stops else ''}."


def _gil_ceiling(lab: Lab, cpu: float, workers: int) -> dict[str, float]:
    """1/(phi c) by the largest phi that the flip chart allows; empty when phi is not known or 0."""
    if workers < 2:
        return {}
    try:
        flips = {flip.step: flip for flip in find_flips(lab, workers)}
    except Missing:
        return {}
    high = flips["GaussianBlur"].phi[1]
    return {"gil": 1 / (high * cpu)} if high > 0 else {}


def _ceiling(name: str, usable: float) -> str:
    return cores(usable) if name == "cores" else "the GIL, lowest"


def _cores_sentence(rates: Mapping[str, Curve], cpu: float, usable: float, ceilings: Mapping[str, float]) -> str:
    told = []
    for name, curve in rates.items():
        values = {n: figure.value for n, figure in curve.items()}
        at, most = value_at(values, usable), max(values)
        told.append(f"{name} {significant(values[min(values)])}/s with {min(values):g}, {significant(at)}/s with "
                    f"{usable:g} and {significant(values[most])}/s with {most:g}")  # fmt: skip
    text = (f"{'; '.join(told)}. {seconds(cpu)} of CPU per picture allow {significant(ceilings['cores'])}/s on "
            f"{cores(usable)}")  # fmt: skip
    text = f"{text[0].upper()}{text[1:]}"
    if "gil" in ceilings:
        text += f", the GIL {significant(ceilings['gil'])}/s or more"
    best = max(figure.value for curve in rates.values() for figure in curve.values())
    return f"{text}; {share(best / ceilings['cores'])} of the cores' ceiling were reached."


def _rate(value: float) -> str:
    return f"{significant(value)}/s"


def _whole(value: float) -> str:
    return f"{value:,.0f}"
