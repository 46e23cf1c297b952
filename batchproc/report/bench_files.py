"""A bench as its texts need it: which rounds count, which cases belong together, how fast one is against another."""

from collections.abc import Sequence
from statistics import median

from msgspec import Struct

from batchproc.bench.bench_json import Bench, BenchCase
from batchproc.bench.verdicts import CaseComparison, NoiseFloor, Verdict

WORDS = {  # verdict as seen from a case: what the reader sees, tone, sign
    "faster": ("▲ faster", "good"),
    "slower": ("▼ slower", "bad"),
    "tie": ("= tie", "quiet"),
    "undecided": ("? undecided", "unknown"),
}

class Relation(Struct, frozen=True, kw_only=True):
    """How fast a case is against a reference: 2 is twice as fast. `word` is a key of WORDS."""

    speed: float
    interval: tuple[float, float] | None
    word: str
    comparison: CaseComparison

    @property
    def is_open(self) -> bool:
        """Whether neither was proven faster."""
        return self.word in ("tie", "undecided")

    @property
    def sign(self) -> str:
        """The verdict with its sign."""
        return WORDS[self.word][0]

    @property
    def tone(self) -> str:
        """The tone of the verdict."""
        return WORDS[self.word][1]

    @property
    def favourable(self) -> int:
        """In how many rounds the one that is faster by the middle was faster."""
        return max(self.comparison.faster_rounds, self.comparison.slower_rounds)


class Group(Struct, frozen=True, kw_only=True):
    """Cases that are compared with one baseline: the whole runs, or one stage alone. `again`: its second run's name."""

    title: str
    baseline: str
    cases: Sequence[BenchCase]
    again: str = ""


def groups_of(bench: Bench) -> list[Group]:
    """The whole runs, then each stage that also ran alone; the fastest median first."""
    cases = sorted(bench.cases, key=lambda case: -case.median_rate_per_second)
    whole = [case for case in cases if not case.alone]
    groups = []
    if whole:
        groups.append(Group(title="Whole runs", baseline=bench.baseline, cases=whole,
                            again=bench.baseline_again))  # fmt: skip
    for stage in ("download", "transform"):
        alone = [case for case in cases if case.alone == stage]
        serial = next((case.name for case in alone if case.download == "serial"), "")
        if alone:
            groups.append(Group(title=f"{stage.capitalize()} alone", baseline=serial, cases=alone))
    return groups


def whole_runs(bench: Bench) -> list[BenchCase]:
    """The cases that ran both stages, the fastest median first."""
    groups = groups_of(bench)
    return list(groups[0].cases) if groups and not groups[0].cases[0].alone else []


def relate(bench: Bench, name: str, reference: str) -> Relation | None:
    """From the planned comparison of the two, whichever way round; None when there is none."""
    both = {name, reference}
    planned = (one for one in bench.comparisons if {one.pair, one.against} == both and name != reference)
    return next((seen_from(one, name) for one in planned), None)


def seen_from(one: CaseComparison, name: str) -> Relation:
    """A comparison as seen from one of its two cases."""
    is_pair, interval, word = one.pair == name, one.interval, one.verdict.value
    if one.verdict is Verdict.WIN:
        word = "faster" if one.winner == name else "slower"
    return Relation(
        speed=1 / one.ratio if is_pair else one.ratio,
        interval=(1 / interval[1], 1 / interval[0]) if interval and is_pair else interval,
        word=word,
        comparison=one,
    )


def points_of(bench: Bench, name: str, baseline: str) -> list[tuple[float, str]]:
    """The speed of a case against the baseline's first run in every complete round, and what became of the round.

    Of each round the last attempt counts; an earlier one was set aside by the rule for disturbed rounds.
    """
    made = [one for one in bench.rounds if one.complete and one.number]
    last = {one.number: at for at, one in enumerate(made)}
    points = []
    for at, one in enumerate(made):
        own, other = one.runs.get(name), one.runs.get(baseline)
        if own and other and own.seconds and other.seconds:
            kind = "set_aside" if last[one.number] != at else "disturbed" if one.disturbances else "counted"
            points.append((other.seconds / own.seconds, kind))
    return points


def middle_of(points: Sequence[tuple[float, str]]) -> float | None:
    """The median speed of the rounds that count."""
    counting = [speed for speed, kind in points if kind != "set_aside"]
    return median(counting) if counting else None


def prediction_errors(bench: Bench) -> list[float]:
    """The errors of all predicted speeds but the baselines' own, which are right by definition."""
    rows = [row for row in bench.predictions if row.ratio != 1.0]
    return [abs(error) for row in rows if (error := row.speed_error) is not None]


def median_error(bench: Bench) -> float | None:
    """The middle one of them."""
    errors = prediction_errors(bench)
    return median(errors) if errors else None


def times(speed: float) -> str:
    """As `× 3.12`, kept on one line."""
    return f"×\u00a0{speed:.2f}" if speed < 9.995 else f"×\u00a0{speed:.1f}"


def from_to(interval: tuple[float, float] | None) -> str:
    """As `2.98 to 3.25`; empty when there are too few rounds for an interval."""
    return f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else ""


def number_or_unknown(number: int | None) -> str:
    """A number, or that it is not known."""
    return "unknown" if number is None else f"{number:,}"


def noise_text(floor: NoiseFloor) -> str:
    """How far two runs of the same case lie apart."""
    span = f" ({from_to((1 / floor.interval[1], 1 / floor.interval[0]))})" if floor.interval else ""
    few = "" if floor.interval else " (too few rounds for an interval)"
    return f"of the baseline's two runs of a round, one has {times(1 / floor.ratio)}{span} the speed of the other{few}"
