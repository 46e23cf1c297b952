"""The closing text of a bench, from bench.json alone: its rounds, if it has any, and its claims.

It tells speeds, as the page does: `x 2` is twice as fast. bench.json has ratios of times, which are the inverse.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from batchproc.bench.bench_json import FILE_NAME, Bench
from batchproc.bench.verdicts import NoiseFloor
from batchproc.explain.run_model import QUIET
from batchproc.explain.words import count, seconds, share, significant
from batchproc.lab.results import ClaimVerdict, Judged, Result, read_claims, read_results
from batchproc.report.bench_verdict import Relation, noise_text, prediction_errors, relate, remark, sentences, span

RIGHT = ("images/s", "speed", "predicted")
CLAIM_WORDS = {
    ClaimVerdict.HOLDS: "holds",
    ClaimVerdict.HERE_NOT_THERE: "here, not there",
    ClaimVerdict.REFUTED: "refuted",
    ClaimVerdict.NOT_MEASURED: "not measured",
}
WIDTH = 116
INDENT = " " * 22


def summarise_bench(bench: Bench, folder: Path) -> str:
    """The text for people: noise, table of cases, winner and why, claims, where things are."""
    results = read_results(bench.experiments)[0]
    heading = [f"{bench.job}: {count(len(results), 'controlled experiment')}, no rounds", ""]
    parts = [_rounds(bench) if bench.cases else heading, _claims(bench, results)]
    return "\n".join([*(line for part in parts for line in part), f"  facts       {folder / FILE_NAME}"])


def _rounds(bench: Bench) -> Iterator[str]:
    counts, cases = bench.contamination, bench.cases
    yield f"{bench.job}: {count(len(cases), 'case')} and the baseline again, {count(counts.rounds or 0, 'round')}"
    yield from _wrapped("  images      ", bench.material.text)
    yield from _wrapped("  noise       ", _noise(bench.noise_floor)) if bench.noise_floor else ()
    yield from _wrapped("  rounds      ", counts.text)
    yield from _wrapped("  cold start  ", _cold_start(bench))
    yield ""
    yield from _table(bench, "", bench.baseline, bench.favourite)
    yield ""
    for stage in dict.fromkeys(case.alone for case in cases if case.alone):
        yield from _table(bench, stage, f"{stage} alone: serial", f"{stage} alone: process")
        yield ""
    winner, why, advice = sentences(bench, (), 0)
    yield from _wrapped("  winner      ", winner)
    yield from _wrapped("  why         ", why)
    if bench.calibration:
        yield from _wrapped("  model       ", bench.calibration.text)
        yield from _wrapped("  predicted   ", _errors(bench))
    yield from _wrapped("  next        ", advice)
    for note in bench.notes:
        yield from _wrapped("  note        ", note)
    yield "  outputs     byte-identical in every run of the same plan"


def _claims(bench: Bench, results: Sequence[Result]) -> Iterator[str]:
    claims = read_claims(bench.claims)[0]
    if not claims:
        return
    yield from ([""] if bench.cases else [])
    for claim in claims:
        yield f"  {claim.id:>2}  {CLAIM_WORDS[claim.verdict]:<16}  {claim.statement}"
        yield from _wrapped(INDENT, claim.meaning)
    yield from _claim_counts(claims, results)


def _claim_counts(claims: Sequence[Judged], results: Sequence[Result]) -> Iterator[str]:
    counts = Counter(claim.verdict for claim in claims)
    yield ""
    yield f"  claims      {', '.join(f'{counts[key]} {word}' for key, word in CLAIM_WORDS.items() if counts[key])}"
    yield f"  took        {seconds(sum(one.seconds for one in results))}"
    busy = [used for one in results if (used := one.others_cpu_share or 0.0) > QUIET]
    if busy:
        yield (
            f"  noise       in {count(len(busy), 'experiment')} other programs used up to {share(max(busy))} of the "
            "machine: a quieter one gives narrower figures"
        )
    yield from (f"  note        {one.name}: {one.failure}" for one in results if one.failure)


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head))


def _noise(floor: NoiseFloor) -> str:
    """How far two runs of the same case lie apart, and what difference is a tie."""
    doubt = "; the two differ by more than chance explains" if floor.suspicious else ""
    apart = noise_text(floor).replace("×\u00a0", "x ")
    return f"{apart}; within {share(math.expm1(floor.margin))} is a tie{doubt}"


def _cold_start(bench: Bench) -> str:
    """The first run's time outside the pipeline, against the same of the baseline's later runs."""
    case = bench.case(bench.baseline)
    warm = case.command_seconds - median(case.seconds) if case else None
    return (
        f"the very first run took {seconds(bench.cold_start.outside_line_seconds)} outside its pipeline "
        f"(interpreter, list, ledger), later ones {seconds(warm)}; the table's times are of the pipeline alone"
    )


def _table(bench: Bench, alone: str, baseline: str, favourite: str) -> Iterator[str]:
    """A row per case, the fastest median first: rate, speed against the baseline, verdicts."""
    cases = [case for case in bench.cases if (case.alone or "") == alone]
    references = [baseline, favourite]
    if favourite in ("", baseline) or favourite not in {case.name for case in cases}:
        references = [baseline]
    predicted = {row.case: row.ratio for row in bench.predictions if row.ratio}
    rows = [["case", "images/s", "speed", "predicted", *(f"against {each}" for each in references)]]
    for case in sorted(cases, key=lambda each: -each.median_rate_per_second):
        name = case.name
        seen = [relate(bench, name, reference) for reference in references]
        rows.append([
            name,
            significant(case.median_rate_per_second),
            f"x {seen[0].speed:.2f}{span(seen[0].interval)}" if seen[0] else "x 1",
            f"x {1 / predicted[name]:.2f}" if name in predicted else "unknown",
            *(_verdict(each) if each and name != baseline else "" for each in seen),
        ])  # fmt: skip
    yield from _aligned(rows)


def _verdict(seen: Relation) -> str:
    """The verdict as seen from the case, with the reason in short; bench.json has it in full."""
    if seen.word in ("faster", "slower"):
        comparison = seen.comparison
        return f"{seen.word} in {seen.favourable} of {comparison.rounds} rounds, p = {comparison.p_adjusted:.2g}"
    return "tie: inside the margin" if seen.word == "tie" else f"undecided: {remark(seen)}"


def _errors(bench: Bench) -> str:
    errors = prediction_errors(bench)
    if not errors:
        return "unknown"
    off = f"{share(median(errors))} (median), {share(max(errors))} (most)"
    return f"before the first round; the speeds were off by {off}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            text.rjust(width) if head in RIGHT else text.ljust(width)
            for head, text, width in zip(rows[0], row, widths, strict=True)
        )
        yield f"  {'  '.join(cells)}".rstrip()
