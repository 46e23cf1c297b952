"""From a bench's record to what its page shows, with what speaks for and against its figures."""

import math
from collections.abc import Iterator

from batchproc.bench.bench_json import Bench
from batchproc.bench.statistics import fewest_rounds
from batchproc.bench.verdicts import NoiseFloor
from batchproc.explain.words import count, share, significant
from batchproc.report.bench_cases_view import (
    margin_of,
)
from batchproc.report.bench_files import (
    Relation,
    median_error,
    noise_text,
    number_or_unknown,
    relate,
    times,
    whole_runs,
)
from batchproc.report.bench_verdict import is_proven, sentences
from batchproc.report.lab_section import BUSY, LabSection, rounds_made_again
from batchproc.report.run_page import CheckRow, as_sentence


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
        yield _check_rounds(bench)
        yield _check_quiet(bench)
        yield _check_outputs(bench)
        yield _check_forecast(bench)
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


def _check_rounds(bench: Bench) -> CheckRow:
    made, compared = bench.contamination.rounds or 0, len(bench.comparisons)
    fewest = fewest_rounds(compared, bench.settings.level)
    return CheckRow(
        name="enough rounds to prove a win",
        text=f"{count(made, 'round')}; a clean sweep over {count(compared, 'comparison')} needs {fewest}",
        limit=str(fewest),
        verdict="unknown" if not compared else "passed" if made >= fewest else "failed",
    )


def _check_quiet(bench: Bench) -> CheckRow:
    kept = bench.contamination.counted_disturbed
    return CheckRow(
        name="nothing else used the machine",
        text=bench.contamination.text,
        limit="0 disturbed",
        verdict="unknown" if kept is None else "passed" if kept == 0 else "failed",
    )


def _check_outputs(bench: Bench) -> CheckRow:
    outputs = bench.outputs
    return CheckRow(
        name="outputs are byte-identical in all modes",
        text="every run of the same plan made the same files" if outputs else "not known before the bench has ended",
        limit="all",
        verdict="unknown" if not outputs else "passed" if outputs.identical else "failed",
    )


def _check_forecast(bench: Bench) -> CheckRow:
    winner, favourite = bench.winner, bench.favourite
    decided = "passed" if winner and winner.predicted else "failed"
    return CheckRow(
        name="the predicted winner is the measured one",
        text=f"predicted {favourite or 'nobody'}, fastest median {winner.fastest_median if winner else 'unknown'}",
        limit="a proof",
        verdict=decided if is_proven(bench) and favourite else "unknown",
    )


def _check_lab(lab: LabSection) -> CheckRow:
    """How many experiments had the machine for themselves."""
    made, again = lab.results, rounds_made_again(lab.results)
    shares = [one.others_cpu_share for one in made if one.others_cpu_share is not None]
    busy = sum(each > BUSY for each in shares)
    most = f", at most {share(max(shares))}" if shares else ""
    return CheckRow(
        name="nothing else used the machine during the experiments",
        text=f"in {busy} of {count(len(made), 'experiment')} other programs used more than {share(BUSY)} of the CPU"
        f"{most}; {count(again, 'round')} made again",
        limit=f"{share(BUSY)} each",
        verdict="unknown" if len(shares) < len(made) else "failed" if busy else "passed",
    )


def _worst_run(bench: Bench) -> str:
    """The most that other programs and the hypervisor took during any run, of rounds set aside as well."""
    seen = [run.conditions for one in bench.rounds if one.number for run in one.runs.values() if run.conditions]
    shares = {"other programs": [one.others_cpu_share for one in seen],
              "the hypervisor": [one.steal_share for one in seen]}  # fmt: skip
    found = {name: [value for value in values if value is not None] for name, values in shares.items()}
    most = [f"{name} {share(max(values))}" for name, values in found.items() if values]
    return f"{', '.join(most)} of the CPU in the worst run" if most else "unknown"


def bench_methods(bench: Bench) -> Iterator[tuple[str, str]]:
    """How a bench was measured."""
    if not bench.baseline:
        return
    found, floor = bench.contamination, bench.noise_floor
    yield "rounds that count", number_or_unknown(found.rounds)
    yield "extra rounds, after disturbed ones", number_or_unknown(found.extra)
    yield "disturbed rounds", (f"{number_or_unknown(found.disturbed)} of all that were made; "
                               f"{number_or_unknown(found.counted_disturbed)} count all the same")  # fmt: skip
    yield "what disturbed most", _worst_run(bench)
    yield "order of cases", "random in every round; the baseline runs twice in each; a warm-up round is thrown away"
    yield "what is timed", bench.makespan.because
    yield "an interval", _coverage(floor)
    margin = f"{share(math.expm1(floor.margin))}: the noise floor, at least 5%" if floor else "unknown"
    yield "margin of a tie", margin
    yield "level of a proof", f"{share(bench.settings.level)} for all comparisons together, after Holm"
    yield "error of the predictions, median", share(median_error(bench))
    miss = bench.calibration.miss_of_its_own_run if bench.calibration else None
    yield "how far the model misses its own calibration run", share(miss)


def _coverage(floor: NoiseFloor | None) -> str:
    covered = floor.coverage if floor else None
    exact = "exact, from order statistics of the rounds"
    return f"{exact}; too few rounds for any here" if covered is None else f"{exact}; covers {100 * covered:.1f}%"


def remark(seen: Relation) -> str:
    """What is to be said of a comparison that proved neither faster."""
    if seen.word == "tie":
        return f"{seen.comparison.winner} is lighter" if seen.comparison.winner else "neither is lighter"
    needed = seen.comparison.rounds_to_decide
    return f"about {needed} rounds would decide" if needed else "more than 100 rounds would be needed"


def probability(value: float) -> str:
    """As `0.012` or `2e-05`."""
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def verdict_of(bench: Bench, lab: LabSection) -> list[str]:
    """The three sentences that the page begins with."""
    return [as_sentence(sentence) for sentence in sentences(bench, lab.claims, len(lab.results))]


def bench_ending(bench: Bench) -> tuple[str, str]:
    """How far it came, as a tone and in words."""
    if not bench.complete:
        return "unknown", "interrupted: the same command continues it"
    if not bench.baseline:
        return "good", "experiments alone"
    return ("good", "decided") if is_proven(bench) else ("unknown", "undecided")


def bench_figures(bench: Bench) -> list[tuple[str, str, str]]:
    """The figures that sum it up: name, value, remark."""
    cases, baseline = whole_runs(bench), bench.baseline
    best = cases[0] if cases else None
    seen = relate(bench, best.name, baseline) if best else None
    found = bench.contamination
    return [
        ("fastest median", f"{significant(best.median_rate_per_second)}/s" if best else "unknown",
         best.name if best else "images per second"),
        ("against the baseline", times(seen.speed) if seen else "unknown", f"the speed of {baseline}"),
        ("rounds that count", number_or_unknown(found.rounds), f"{number_or_unknown(bench.settings.rounds)} asked for, "
         f"{number_or_unknown(found.counted_disturbed)} disturbed"),
        ("a tie lies within", f"± {share(margin_of(bench) - 1)}", "the noise floor, at least 5%")
        if bench.noise_floor else ("a tie lies within", "unknown", "no round is complete"),
        ("prediction error", share(median_error(bench)), "median of the predicted speeds"),
    ]  # fmt: skip
