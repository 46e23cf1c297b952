"""How the cases of a bench compare: heat maps, all points, predicted against measured; and its self-checks."""

import math
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from batchproc.bench.bench_json import Bench, BenchCase, BenchPrediction
from batchproc.bench.verdicts import LEAST_MARGIN, fewest_rounds
from batchproc.explain.run_model import QUIET
from batchproc.explain.words import count, share
from batchproc.record.run_parts import MODES
from batchproc.report.bench_charts import SpeedRow, speed_rows
from batchproc.report.bench_rates_view import (
    view_accounts,
    view_case_ceilings,
    view_memory,
    view_rates,
    view_starts,
    view_startup,
)
from batchproc.report.bench_verdict import (
    WORDS,
    Group,
    Relation,
    from_to,
    groups_of,
    is_proven,
    median_error,
    middle_of,
    noise_text,
    points_of,
    relate,
    remark,
    seen_from,
    sentences,
    stage_rates,
    times,
    whole_runs,
)
from batchproc.report.html import CheckRow
from batchproc.report.lab_section import LabSection, number_figure, number_name, rounds_made_again, view_lab
from batchproc.report.svg import Chart, Label

MOST_MAPS = 12
FULL_HEAT = math.log(4.0)  # a speed of 4 or 1/4 has the strongest tint
TINTS = (6, 40)  # per cent of the tone mixed into the page's ground


class HeatMap(Struct, frozen=True, kw_only=True):
    """Download modes down, transform modes across, against a reference; None where the bench has no such case."""

    caption: str
    reference: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[BenchCase | None]]]


def view_maps(bench: Bench) -> tuple[list[HeatMap], str]:
    """Against the baseline, and against the case that was named the favourite beforehand; and what is not shown."""
    whole = [case for case in bench.cases if not case.alone]
    settings = _settings(whole)
    references = list(dict.fromkeys([bench.baseline, bench.favourite or bench.baseline]))
    maps = [_map(whole, varied, reference) for varied in settings for reference in references]
    left_out = len(maps) - MOST_MAPS
    note = f"{count(left_out, 'more map')} left out; the table of comparisons has every case." if left_out > 0 else ""
    return (maps[:MOST_MAPS] if whole else []), note


def view_points(bench: Bench) -> list[Chart]:
    """A strip of points per group of cases."""
    return [_strip(bench, group, at) for at, group in enumerate(groups_of(bench))]


def view_forecast(bench: Bench) -> list[Chart]:
    """Predicted against measured, a chart per group of cases; none when nothing was predicted."""
    predictions = {row.case: row for row in bench.predictions if row.ratio}
    groups = enumerate(groups_of(bench))
    return [chart for at, group in groups if (chart := _forecast(bench, group, predictions, at))]


def _settings(whole: Sequence[BenchCase]) -> list[Mapping[str, object]]:
    """Every combination of varied values; a case that leaves a value out, as a serial stage does, is in all of them."""
    most = max((len(case.varied) for case in whole), default=0)
    found: list[Mapping[str, object]] = []
    for case in whole:
        varied = case.varied
        if len(varied) == most and varied not in found:
            found.append(varied)
    return sorted(found, key=lambda varied: [str(value).rjust(12) for value in varied.values()])


def _map(whole: Sequence[BenchCase], varied: Mapping[str, object], reference: str) -> HeatMap:
    here = [case for case in whole if (case.varied).items() <= varied.items()]
    by_pair = {(str(case.download), str(case.transform)): case for case in here}
    downloads, columns = ([mode for mode in MODES if any(case.mode(stage) == mode for case in here)]
                          for stage in ("download", "transform"))  # fmt: skip
    setting = ", ".join(f"{key} = {value}" for key, value in varied.items())
    return HeatMap(
        caption=f"Speed against {reference}{f'; {setting}' if setting else ''}",
        columns=columns,
        reference=reference,
        rows=[(mode, [by_pair.get((mode, other)) for other in columns]) for mode in downloads],
    )


def tint(seen: Relation) -> int:
    """Per cent of the tone in a cell: the more, the further the speed is from 1; half where nothing is proven."""
    strength = min(1.0, abs(math.log(seen.speed)) / FULL_HEAT)
    return round((TINTS[0] + (TINTS[1] - TINTS[0]) * strength) / (2 if seen.is_open else 1))


def _strip(bench: Bench, group: Group, at: int) -> Chart:
    rows = [_strip_row(bench, group, case.name) for case in group.cases]
    if group.again:
        points = points_of(bench, group.again, group.baseline)
        floor = bench.noise_floor
        interval = floor.interval if floor else None  # time of the baseline by that of its second run
        rows.append(SpeedRow(name=group.again, note="noise floor", points=points, middle=middle_of(points),
                             interval=interval))  # fmt: skip
    rows = [row for row in rows if row.points]
    sentence = _strip_sentence(group, rows)
    label = Label(name=f"points-{at}", title=f"{group.title}: every round", sentence=sentence)
    return speed_rows(label, rows, margin=margin_of(bench))


def _strip_row(bench: Bench, group: Group, name: str) -> SpeedRow:
    points = points_of(bench, name, group.baseline)
    seen = relate(bench, name, group.baseline)
    middle = middle_of(points)
    word = WORDS[seen.word][0][2:] if seen else "reference" if name == group.baseline else ""
    note = f"{times(middle)} {word}" if middle and name != group.baseline else word
    return SpeedRow(
        name=name,
        note=note,
        points=points if name != group.baseline else [],
        middle=middle,
        interval=seen.interval if seen else None,
    )


def _strip_sentence(group: Group, rows: Sequence[SpeedRow]) -> str:
    """Fastest and slowest by their medians, and how far single rounds of one case lie apart at most."""
    known = [row for row in rows if row.middle is not None and row.name != group.again]
    if not known:
        return f"{group.title}: nothing to compare with {group.baseline or 'a baseline'}."
    best, worst = (pick(known, key=lambda row: row.middle or 0.0) for pick in (max, min))
    spread = max(known, key=_spread)
    top = f"{times(best.middle or 0.0)} ({best.name})"
    text = f"{group.title}: from {times(worst.middle or 0.0)} ({worst.name}) to {top}"
    text = text if best is not worst else f"{group.title}: {top}"
    widest = f"; rounds of one case differ by up to {share(_spread(spread) - 1)} ({spread.name})"
    return f"{text}, {group.baseline} being ×\u00a01{widest if len(spread.points) > 1 else ''}."


def _spread(row: SpeedRow) -> float:
    speeds = [speed for speed, _ in row.points]
    return max(speeds) / min(speeds)


def margin_of(bench: Bench) -> float:
    """The ratio within which a difference is a tie."""
    return math.exp(bench.noise_floor.margin if bench.noise_floor else LEAST_MARGIN)


def _forecast(bench: Bench, group: Group, predictions: Mapping[str, BenchPrediction], at: int) -> Chart | None:
    rows = [
        _forecast_mark(case.name, predictions[case.name], relate(bench, case.name, group.baseline))
        for case in group.cases if case.name in predictions and case.name != group.baseline
    ]  # fmt: skip
    if not rows:
        return None
    covered = sum(bool(row.middle and row.predicted and abs(math.log(row.middle / row.predicted)) <= math.log(1.1))
                  for row in rows)  # fmt: skip
    sentence = (f"{group.title}: {covered} of {count(len(rows), 'prediction')} within 10% of what was "
                "measured.")  # fmt: skip
    title = f"{group.title}, against {group.baseline}: predicted and measured"
    return speed_rows(Label(name=f"forecast-{at}", title=title, sentence=sentence), rows, margin=margin_of(bench))


def _forecast_mark(name: str, row: BenchPrediction, seen: Relation | None) -> SpeedRow:
    error = row.speed_error
    spread = (1 / row.high, 1 / row.low) if row.low and row.high else None
    return SpeedRow(
        name=name,
        note="error unknown" if error is None else f"speed {signed(error)}",
        middle=seen.speed if seen else None,
        interval=seen.interval if seen else None,
        predicted=1 / row.ratio if row.ratio else None,
        predicted_range=spread,
    )


def forecast_sentence(bench: Bench) -> str:
    """How good the predictions were."""
    error = median_error(bench)
    if error is None:
        return "What was predicted cannot be compared with anything yet."
    favourite, fastest = bench.favourite, bench.winner.fastest_median if bench.winner else ""
    same = "which also had the fastest median" if favourite == fastest else f"but {fastest} had the fastest median"
    predicted = f"The predicted winner was {favourite}, {same}." if favourite else "No winner was predicted."
    return (f"Written down before the first round; half of the predicted speeds are within {share(error)} of the "
            f"measured. {predicted}")  # fmt: skip


def signed(error: float | None) -> str:
    """As `+12%` or `−3%`, of a predicted speed against the measured one; `unknown` for None."""
    return "unknown" if error is None else f"{'−' if error < 0 else '+'}{share(abs(error))}"


def disturbances(bench: Bench) -> list[tuple[str, str]]:
    """The rounds that something else disturbed, and what; the warm-up is no round."""
    return [
        (f"round {one.number}, attempt {one.attempt}", ", ".join(one.disturbances))
        for one in bench.rounds if one.number and one.disturbances
    ]  # fmt: skip


def bench_checks(bench: Bench, lab: LabSection) -> Iterator[CheckRow]:
    """What speaks for and against a bench."""
    if bench.baseline:
        yield _check_noise(bench)
        yield from _check_outcome(bench)
    if lab.results:
        yield _check_lab(lab)


def _check_noise(bench: Bench) -> CheckRow:
    floor = bench.noise_floor
    name = "two runs of the same case are alike"
    if floor is None:
        return CheckRow(name=name, text="unknown: no round is complete", limit="unknown", verdict="unknown")
    interval, text = floor.interval, noise_text(floor)
    if interval and not interval[0] <= 1.0 <= interval[1]:
        text += "; more than chance, so the margin of a tie covers it"
    verdict = "failed" if floor.suspicious else "passed" if interval else "unknown"
    return CheckRow(name=name, text=text, limit="5%, or chance", verdict=verdict)


def _check_outcome(bench: Bench) -> Iterator[CheckRow]:
    """Rounds, what disturbed them, outputs, and the forecast."""
    made, compared, outputs = bench.contamination.rounds or 0, len(bench.comparisons), bench.outputs
    fewest = fewest_rounds(compared, bench.settings.level)
    yield CheckRow(
        name="enough rounds to prove a win",
        text=f"{count(made, 'round')}; a clean sweep over {count(compared, 'comparison')} needs {fewest}",
        limit=str(fewest),
        verdict="unknown" if not compared else "passed" if made >= fewest else "failed",
    )
    kept = bench.contamination.counted_disturbed
    yield CheckRow(
        name="nothing else used the machine",
        text=bench.contamination.text,
        limit="0 disturbed",
        verdict="unknown" if kept is None else "passed" if kept == 0 else "failed",
    )
    yield CheckRow(
        name="outputs are byte-identical in all modes",
        text="every run of the same plan made the same files" if outputs else "not known before the bench has ended",
        limit="all",
        verdict="unknown" if not outputs else "passed" if outputs.identical else "failed",
    )
    winner, favourite = bench.winner, bench.favourite
    decided = "passed" if winner and winner.predicted else "failed"
    yield CheckRow(
        name="the predicted winner is the measured one",
        text=f"predicted {favourite or 'nobody'}, fastest median {winner.fastest_median if winner else 'unknown'}",
        limit="a proof",
        verdict=decided if is_proven(bench) and favourite else "unknown",
    )


def _check_lab(lab: LabSection) -> CheckRow:
    """How many experiments had the machine for themselves."""
    made, again = lab.results, rounds_made_again(lab.results)
    shares = [one.others_cpu_share for one in made if one.others_cpu_share is not None]
    busy = sum(each > QUIET for each in shares)
    most = f", at most {share(max(shares))}" if shares else ""
    return CheckRow(
        name="nothing else used the machine during the experiments",
        text=f"in {busy} of {count(len(made), 'experiment')} other programs used more than {share(QUIET)} of the CPU"
        f"{most}; {count(again, 'round')} made again",
        limit=f"{share(QUIET)} each",
        verdict="unknown" if len(shares) < len(made) else "failed" if busy else "passed",
    )


def worst_run(bench: Bench) -> str:
    """The most that other programs and the hypervisor took during any run, of rounds set aside as well."""
    seen = [run.conditions for one in bench.rounds if one.number for run in one.runs.values() if run.conditions]
    shares = {"other programs": [one.others_cpu_share for one in seen],
              "the hypervisor": [one.steal_share for one in seen]}  # fmt: skip
    found = {name: [value for value in values if value is not None] for name, values in shares.items()}
    most = [f"{name} {share(max(values))}" for name, values in found.items() if values]
    return f"{', '.join(most)} of the CPU in the worst run" if most else "unknown"


def probability(value: float) -> str:
    """As `0.012` or `2e-05`."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


# What the templates may call besides, each by its own name.
BENCH_FILTERS = {one.__name__: one for one in (
    bench_checks, disturbances, forecast_sentence, from_to, is_proven, margin_of, median_error, number_figure,
    number_name, probability, relate, remark, seen_from, sentences, signed, stage_rates, times, tint, view_accounts,
    view_case_ceilings, view_forecast, view_lab, view_maps, view_memory, view_points, view_rates, view_starts,
    view_startup, whole_runs, worst_run,
)}  # fmt: skip
