"""Whole jobs with their start: total time against the number of items, and from how many on processes repay."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from batchproc.explain.words import count, seconds, share
from batchproc.report.bench_crossings import crossings, items_that_repay, value_at
from batchproc.report.bench_curves import LOOKS, Axis, Meeting, Model, Trace, curve_chart
from batchproc.report.bench_lab_chart import LabChart, all_points, is_below, table
from batchproc.report.bench_numbers import Figure, Lab, Missing
from batchproc.report.canvas import Label

TITLE = "Whole jobs: time against the number of items"
MODES = {"thread": "threads", "process": "processes", "serial": "serial"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What other experiments say of a mode: seconds until its workers are ready, and then per item."""

    start_seconds: float
    item_seconds: float

    def of(self, items: float) -> float:
        """Seconds of a job."""
        return self.start_seconds + items * self.item_seconds


def view_job_size(lab: Lab) -> LabChart:
    """Raises `Missing`."""
    curves = {mode: lab.curve("job_size", f"{mode}_seconds") for mode in MODES}
    middles = {mode: {x: figure.value for x, figure in curve.items()} for mode, curve in curves.items()}
    forecasts = _forecasts(lab)
    measured, predicted = crossings(middles["thread"], middles["process"]), predict_break_even(forecasts)
    places = sorted(curves["thread"])
    traces = [Trace(name=name, points=all_points(curves[mode]), look=at, is_control=mode == "serial")
              for at, (mode, name) in enumerate(MODES.items())]  # fmt: skip
    models = [Model(name=f"{MODES[mode]}, predicted", role=LOOKS[at][1], dashes=at,
                    points=[(x, forecast.of(x)) for x in places])
              for at, (mode, forecast) in enumerate(forecasts.items())]  # fmt: skip
    meetings = [Meeting(name=f"{word} {math.ceil(x)}", x=x, y=value_at(middles["thread"], x),
                        is_predicted=word == "predicted")
                for word, x in (*(("measured", x) for x in measured), ("predicted", predicted))
                if x and places[0] <= x <= places[-1]]  # fmt: skip
    sentence = f"{_sentence(middles, measured, predicted, forecasts)} {_certainty(curves)}"
    svg = curve_chart(Label(name="job-size", title=TITLE, sentence=sentence),
                      Axis(name="items in the job (a loop in Python)", write=lambda x: f"{x:,.0f}", ticks=places),
                      Axis(name="time of the whole job", write=seconds), traces, models, meetings)  # fmt: skip
    rows = table(places, lambda x: f"{x:,.0f}", [(curve, seconds) for curve in curves.values()])
    return LabChart(title=TITLE, sentence=sentence, svg=svg, heads=["items", *MODES.values()], rows=rows)


def predict_break_even(forecasts: Mapping[str, Forecast]) -> float | None:
    """N* of processes against threads; None when either is not known or processes gain nothing per item."""
    if not {"thread", "process"} <= set(forecasts):
        return None
    thread, process = forecasts["thread"], forecasts["process"]
    return items_that_repay(process.start_seconds - thread.start_seconds, thread.item_seconds - process.item_seconds)


def _forecasts(lab: Lab) -> dict[str, Forecast]:
    """From the experiments `startup` and `steps`, which know nothing of this one; empty without them."""
    try:
        serial = lab.one("steps", "python.serial_seconds").value
        return {
            mode: Forecast(
                start_seconds=lab.one("startup", f"{mode}_seconds").value,
                item_seconds=serial / lab.one("steps", f"python.{name}_gain").value,
            )
            for mode, name in MODES.items() if mode != "serial"
        }  # fmt: skip
    except Missing:
        return {}


def _sentence(middles: Mapping[str, Mapping[float, float]], measured: Sequence[float], predicted: float | None,
              forecasts: Mapping[str, Forecast]) -> str:  # fmt: skip
    few, most = min(middles["thread"]), max(middles["thread"])
    told = [f"A job of {count(round(x), 'item')} takes {seconds(middles['thread'][x])} in threads and "
            f"{seconds(middles['process'][x])} in processes" for x in (few, most)]  # fmt: skip
    text = f"{told[0]}; {told[1][0].lower()}{told[1][1:]}. "
    ahead = middles["process"][most] < middles["thread"][most]
    if len(measured) > 1:
        places = " and ".join(str(math.ceil(x)) for x in measured)
        text += f"The curves cross at {places} items, so where processes repay their start is not decided"
    elif measured and ahead:
        text += f"By the medians processes repay their start from about {math.ceil(measured[0])} items on"
    else:
        text += f"Processes are {'ahead' if ahead else 'behind'} in the largest job measured"
    if not forecasts:
        return f"{text}; not predicted, for start and steps were not measured."
    if predicted is None:
        return f"{text}; by the model they never do, for they gain nothing per item."
    process, thread = forecasts["process"], forecasts["thread"]
    return (f"{text}; predicted {math.ceil(predicted)}, from {seconds(process.start_seconds - thread.start_seconds)} "
            f"more to start and {seconds(thread.item_seconds - process.item_seconds)} gained per item."
            f"{_off(middles, forecasts, most)}")  # fmt: skip


def _certainty(curves: Mapping[str, Mapping[float, Figure]]) -> str:
    """From which size on processes are ahead with their whole interval."""
    thread, process = curves["thread"], curves["process"]
    doubtful = [x for x in thread if x in process and not is_below(process[x], thread[x])]
    sure = [x for x in thread if x in process and x > max(doubtful, default=0.0)]
    if not sure:
        return "In the largest job the intervals overlap or processes are behind: no gain is proven at any size."
    return f"From {count(round(min(sure)), 'item')} on the intervals are apart."


def _off(middles: Mapping[str, Mapping[float, float]], forecasts: Mapping[str, Forecast], most: float) -> str:
    off = {mode: forecast.of(most) / middles[mode][most] - 1 for mode, forecast in forecasts.items()}
    told = " and ".join(f"{share(abs(value))} {'above' if value > 0 else 'below'} ({MODES[mode]})"
                        for mode, value in off.items())  # fmt: skip
    return f" At {count(round(most), 'item')} the predicted times are {told} the measured."
