"""Handing over: time per item against payload, in threads and in processes, with and without work."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from batchproc.explain.words import seconds, size
from batchproc.report.bench_crossings import crossings, payload_that_eats, value_at
from batchproc.report.bench_curves import Axis, Meeting, Trace, curve_chart
from batchproc.report.bench_lab_chart import LabChart, all_points, is_below, table
from batchproc.report.bench_numbers import Figure, Lab
from batchproc.report.canvas import Label

TITLE = "Handing over: time per item against payload"
TYPICAL_BYTES = 155_000.0  # about a picture of the demo
TICKS = (0.0, 1e3, 1e4, 1e5, 1e6, 1e7)
NAMES = {
    "work_threads": "work in threads",
    "work_processes": "work in processes",
    "echo_threads": "no work, thread",
    "echo_processes": "no work, process",
}

Curves = Mapping[str, Mapping[float, Figure]]


def view_payload(lab: Lab) -> LabChart:
    """Raises `Missing`."""
    curves = {name: lab.curve("payload", f"{name}_seconds") for name in NAMES}
    measured, predicted = find_places(curves)
    traces = [Trace(name=NAMES[name], points=all_points(curve), look=at % 2, is_control=name.startswith("echo"))
              for at, (name, curve) in enumerate(curves.items())]  # fmt: skip
    threads = {x: figure.value for x, figure in curves["work_threads"].items()}
    meetings = [Meeting(name=f"{word} {size(x)}", x=x, y=value_at(threads, x), is_predicted=word == "predicted")
                for word, x in (*(("measured", x) for x in measured), ("predicted", predicted)) if x]  # fmt: skip
    sentence = f"{_sentence(curves, measured, predicted)} {_certainty(curves)}"
    places = sorted(curves["work_threads"])
    smallest = next((x for x in places if x > 0), 1.0)
    axis = Axis(name="payload of an item", write=_bytes, zero=smallest / 6,
                ticks=[tick for tick in TICKS if tick <= places[-1]])  # fmt: skip
    svg = curve_chart(Label(name="payload", title=TITLE, sentence=sentence), axis,
                      Axis(name="time per item", write=seconds), traces, (), meetings)  # fmt: skip
    rows = table(places, size, [(curve, seconds) for curve in curves.values()])
    return LabChart(title=TITLE, sentence=sentence, svg=svg, heads=["payload", *NAMES.values()], rows=rows)


def find_places(curves: Curves) -> tuple[list[float], float | None]:
    """The payloads where processes stop being faster than threads: all that were measured, and from the echo alone.

    Predicted is where the hand-over's own growth, process against thread, is what processes gain without a payload.
    """
    middles = {name: {x: figure.value for x, figure in curve.items()} for name, curve in curves.items()}
    threads, processes = middles["work_threads"], middles["work_processes"]
    least = min(threads)
    gained = threads[least] - processes.get(least, threads[least])
    cost = {x: middles["echo_processes"][x] - seconds for x, seconds in middles["echo_threads"].items()
            if x in middles["echo_processes"]}  # fmt: skip
    extra = {x: each - cost[min(cost)] for x, each in cost.items()}
    return crossings(processes, threads), payload_that_eats(gained, extra)


def _sentence(curves: Curves, measured: Sequence[float], predicted: float | None) -> str:
    echo, work = ({name: {x: figure.value for x, figure in curves[f"{kind}_{name}"].items()}
                   for name in ("threads", "processes")} for kind in ("echo", "work"))  # fmt: skip
    typical = min(echo["threads"], key=lambda x: (x == 0, abs(x - TYPICAL_BYTES)))
    most, least = max(work["threads"]), min(work["threads"])
    text = (f"Without work an item of {size(typical)} takes {seconds(echo['threads'][typical])} to a thread and "
            f"{seconds(echo['processes'][typical])} to a process, one of {size(most)} "
            f"{seconds(echo['threads'][most])} and {seconds(echo['processes'][most])}. A loop in Python takes "
            f"{seconds(work['threads'][least])} per item in threads and {seconds(work['processes'][least])} in "
            "processes without payload; ")  # fmt: skip
    ahead = work["processes"][most] < work["threads"][most]
    if len(measured) > 1:
        places = " and ".join(map(size, measured))
        text += f"their curves cross at {places}, so where processes stop paying is not decided"
    elif not measured:
        text += f"processes are {'' if ahead else 'not '}ahead at every payload up to {size(most)}"
    else:
        text += f"by the medians processes are {'' if ahead else 'no longer '}ahead from {size(measured[0])} on"
    known = f"{size(predicted)}" if predicted else f"none up to {size(most)}"
    return f"{text} (predicted from the echo alone: {known})."


def _certainty(curves: Curves) -> str:
    """Up to which payload processes are ahead throughout, and from which on behind, with their whole interval."""
    threads, processes = curves["work_threads"], curves["work_processes"]
    common = sorted(set(threads) & set(processes))
    ahead = list(takewhile(lambda x: is_below(processes[x], threads[x]), common))
    behind = list(takewhile(lambda x: is_below(threads[x], processes[x]), reversed(common)))
    told = [f"ahead up to {size(ahead[-1])}"] if ahead else []
    told += [f"behind from {size(behind[-1])} on"] if behind else []
    return f"With their whole interval processes are {' and '.join(told) or 'neither ahead nor behind'}."


def _bytes(value: float) -> str:
    return "0" if value == 0 else size(value)
