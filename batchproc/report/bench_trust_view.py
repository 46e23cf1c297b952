"""How far a bench can be trusted: noise floor, rounds, every comparison after Holm, where it was made."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from batchproc.bench.statistics import fewest_rounds
from batchproc.explain.words import count, share
from batchproc.record.run import MachineRecord
from batchproc.report.bench_files import WORDS, Facts, baseline_of, from_to, median_error, relate, times
from batchproc.report.bench_verdict import is_proven
from batchproc.report.lab_section import BUSY, LabSection, rounds_made_again
from batchproc.report.trust_view import CheckRow, Provenance, TrustView, view_provenance

FINGERPRINT_LETTERS = 12  # the whole of it does not fit on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One planned comparison as it came out."""

    what: str
    speed: str
    interval: str
    rounds: str
    p: str
    p_adjusted: str
    sign: str
    tone: str
    remark: str


def view_bench_trust(facts: Facts, lab: LabSection) -> TrustView:
    """The honesty panel."""
    checks = list(_checks(facts, lab))
    counts = {word: sum(check.verdict == word for check in checks) for word in ("passed", "failed", "unknown")}
    return TrustView(
        summary=f"{counts['passed']} of {count(len(checks), 'check')} passed, {counts['failed']} failed, "
        f"{counts['unknown']} could not be made.",
        checks=checks,
        methods=list(_methods(facts)),
        notes=[str(note) for note in facts.get("notes") or ()],
    )


def view_comparisons(facts: Facts) -> list[ComparisonRow]:
    """Every comparison that was planned, in the plan's order."""
    return [_comparison(one) for one in facts.get("comparisons") or ()]


def view_disturbances(facts: Facts) -> list[tuple[str, str]]:
    """The rounds that something else disturbed, and what; the warm-up is no round."""
    return [
        (f"round {one['number']}, attempt {one.get('attempt', 1)}", ", ".join(map(str, one["disturbances"])))
        for one in facts["rounds"] if one.get("number") and one.get("disturbances")
    ]  # fmt: skip


def view_bench_provenance(facts: Facts) -> Provenance:
    """What was benched, on what, with which settings."""
    settings, material = facts.get("settings") or {}, facts.get("material") or {}
    rows = [
        ("program", f"batchproc {facts.get('version', 'unknown')}"),
        ("job", str(facts.get("job", "unknown"))),
        ("started", str(facts.get("started", "unknown"))),
        ("ended", str(facts.get("ended") or "not yet")),
        ("pictures", str(material.get("text", "unknown"))),
        ("left out of the list", f"{material['left_out']:,}" if "left_out" in material else "unknown"),
        ("rounds asked for", str(settings.get("rounds", "unknown"))),
        ("seed of the order", str(settings.get("seed", "unknown"))),
        ("fingerprint begins", str(facts.get("fingerprint", "unknown"))[:FINGERPRINT_LETTERS]),
    ]
    known = {name: value for name, value in (facts.get("host") or {}).items() if name in MachineRecord.__slots__}
    return view_provenance(rows, MachineRecord(**known), facts.get("config") or {})


def _checks(facts: Facts, lab: LabSection) -> Iterator[CheckRow]:
    if baseline_of(facts):
        yield _check_noise(facts)
        yield _check_rounds(facts)
        yield _check_quiet(facts)
        yield _check_outputs(facts)
        yield _check_forecast(facts)
    if lab.results:
        yield _check_lab(lab)


def _check_noise(facts: Facts) -> CheckRow:
    floor = facts.get("noise_floor") or {}
    name = "two runs of the same case are alike"
    if not floor:
        return CheckRow(name=name, text="unknown: no round is complete", limit="unknown", verdict="unknown")
    interval = floor.get("interval")
    span = from_to((1 / interval[1], 1 / interval[0])) if interval else "too few rounds for an interval"
    text = f"of the baseline's two runs of a round, one has {times(1 / floor['ratio'])} the speed of the other ({span})"
    if interval and not interval[0] <= 1.0 <= interval[1]:
        text += "; more than chance, so the margin of a tie covers it"
    verdict = "failed" if floor.get("suspicious") else "passed" if interval else "unknown"
    return CheckRow(name=name, text=text, limit="5 %, or chance", verdict=verdict)


def _check_rounds(facts: Facts) -> CheckRow:
    made, compared = int((facts.get("contamination") or {}).get("rounds") or 0), len(facts.get("comparisons") or ())
    fewest = fewest_rounds(compared, float((facts.get("settings") or {}).get("level") or 0.05))
    return CheckRow(
        name="enough rounds to prove a win",
        text=f"{count(made, 'round')}; a clean sweep over {count(compared, 'comparison')} needs {fewest}",
        limit=str(fewest),
        verdict="unknown" if not compared else "passed" if made >= fewest else "failed",
    )


def _check_quiet(facts: Facts) -> CheckRow:
    found = facts.get("contamination") or {}
    kept = found.get("counted_disturbed")
    return CheckRow(
        name="nothing else used the machine",
        text=str(found.get("text") or "unknown"),
        limit="0 disturbed",
        verdict="unknown" if kept is None else "passed" if kept == 0 else "failed",
    )


def _check_outputs(facts: Facts) -> CheckRow:
    outputs = facts.get("outputs")
    return CheckRow(
        name="outputs are byte-identical in all modes",
        text="every run of the same plan made the same files" if outputs else "not known before the bench has ended",
        limit="all",
        verdict="unknown" if not outputs else "passed" if outputs.get("identical") else "failed",
    )


def _check_forecast(facts: Facts) -> CheckRow:
    winner, favourite = facts.get("winner") or {}, facts.get("favourite")
    decided = "passed" if winner.get("predicted") else "failed"
    return CheckRow(
        name="the predicted winner is the measured one",
        text=f"predicted {favourite or 'nobody'}, fastest median {winner.get('fastest_median', 'unknown')}",
        limit="a proof",
        verdict=decided if is_proven(facts) and favourite else "unknown",
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


def _worst_run(facts: Facts) -> str:
    """The most that other programs and the hypervisor took during any run, of rounds set aside as well."""
    runs = [run for one in facts["rounds"] if one.get("number") for run in one["runs"].values()]
    found = {name: [value for run in runs if (value := (run.get("conditions") or {}).get(key)) is not None]
             for name, key in (("other programs", "others_cpu_share"), ("the hypervisor", "steal_share"))}  # fmt: skip
    told = [f"{name} {share(max(values))}" for name, values in found.items() if values]
    return f"{', '.join(told)} of the CPU in the worst run" if told else "unknown"


def _methods(facts: Facts) -> Iterator[tuple[str, str]]:
    if not baseline_of(facts):
        return
    settings, found = facts.get("settings") or {}, facts.get("contamination") or {}
    floor, makespan = facts.get("noise_floor") or {}, facts.get("makespan") or {}
    yield "rounds that count", str(found.get("rounds", "unknown"))
    yield "extra rounds, after disturbed ones", str(found.get("extra", "unknown"))
    yield "disturbed rounds", (f"{found.get('disturbed', 'unknown')} of all that were made; "
                               f"{found.get('counted_disturbed', 'unknown')} count all the same")  # fmt: skip
    yield "what disturbed most", _worst_run(facts)
    yield "order of cases", "random in every round; the baseline runs twice in each; a warm-up round is thrown away"
    yield "what is timed", str(makespan.get("because") or "unknown")
    yield "an interval", _coverage(floor)
    margin = floor.get("margin")
    told = "unknown" if margin is None else f"{share(math.expm1(margin))}: the noise floor, at least 5 %"
    yield "margin of a tie", told
    level = settings.get("level")
    yield "level of a proof", "unknown" if level is None else f"{share(level)} for all comparisons together, after Holm"
    error = median_error(facts)
    yield "error of the predictions, median", share(error)
    miss = (facts.get("calibration") or {}).get("miss_of_its_own_run")
    yield "how far the model misses its own calibration run", share(miss)


def _coverage(floor: Facts) -> str:
    covered = floor.get("coverage")
    exact = "exact, from order statistics of the rounds"
    return f"{exact}; too few rounds for any here" if covered is None else f"{exact}; covers {100 * covered:.1f} %"


def _comparison(one: Facts) -> ComparisonRow:
    seen = relate({"comparisons": [one]}, str(one["pair"]), str(one["against"]))
    word = seen.word if seen else "undecided"
    needed = one.get("rounds_to_decide")
    outlook = f"about {needed} rounds would decide" if needed else "more than 100 rounds would be needed"
    lighter = f"{one['winner']} is lighter" if one.get("winner") else "neither is lighter"
    return ComparisonRow(
        what=f"{one['pair']} against {one['against']}",
        speed=times(seen.speed) if seen else "unknown",
        interval=from_to(seen.interval if seen else None) or "none",
        rounds=f"{one.get('faster_rounds', '?')} of {one.get('rounds', '?')}",
        p=_probability(one.get("p")),
        p_adjusted=_probability(one.get("p_adjusted")),
        sign=WORDS[word][0],
        tone=WORDS[word][1],
        remark={"undecided": outlook, "tie": lighter}.get(word, ""),
    )


def _probability(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"
