"""A bench as its texts need it, and in three sentences: which mode wins, why, and what to do.

Each says no more than was checked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from msgspec import Struct

from batchproc.bench.bench_json import Bench, BenchCase, BenchStage, Winner
from batchproc.bench.verdicts import CaseComparison, NoiseFloor, Verdict, fewest_rounds
from batchproc.explain.mode_wording import PLURALS, ModeRate, StageRates, cause_text
from batchproc.explain.run_model import BLOCKED
from batchproc.explain.words import Words, count, seconds, share, significant, workers_text
from batchproc.lab.results import Judged
from batchproc.record.explanation import Cause, Value
from batchproc.record.run_parts import MODES, STAGES

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
    whole = Group(title="Whole runs", baseline=bench.baseline, cases=whole_runs(bench), again=bench.baseline_again)
    groups = [whole]
    for stage in STAGES:
        alone = _fastest_first(case for case in bench.cases if case.alone == stage)
        serial = next((case.name for case in alone if case.download == "serial"), "")
        groups.append(Group(title=f"{stage.capitalize()} alone", baseline=serial, cases=alone))
    return [group for group in groups if group.cases]


def whole_runs(bench: Bench) -> list[BenchCase]:
    """The cases that ran both stages, the fastest median first."""
    return _fastest_first(case for case in bench.cases if not case.alone)


def _fastest_first(cases: Iterable[BenchCase]) -> list[BenchCase]:
    return sorted(cases, key=lambda case: -case.median_rate_per_second)


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


def span(interval: tuple[float, float] | None) -> str:
    """The same behind a figure, as ` (2.98 to 3.25)`."""
    return f" ({from_to(interval)})" if interval else ""


def noise_text(floor: NoiseFloor) -> str:
    """How far two runs of the same case lie apart."""
    ends = (1 / floor.interval[1], 1 / floor.interval[0]) if floor.interval else None
    few = "" if ends else " (too few rounds for an interval)"
    text = f"of the baseline's two runs of a round, one has {times(1 / floor.ratio)}{span(ends)} the speed of the other"
    return text + few


def remark(seen: Relation) -> str:
    """What is to be said of a comparison that proved neither faster."""
    if seen.word == "tie":
        return f"{seen.comparison.winner} is lighter" if seen.comparison.winner else "neither is lighter"
    needed = seen.comparison.rounds_to_decide
    return f"about {needed} rounds would decide" if needed else "more than 100 rounds would be needed"


WAITS = 0.2  # of the download's time on the network, above which waiting is worth telling
TRUSTED = 0.25  # error of a predicted speed, above which its reason is not told as a fact
NAMED = 3
START_EXPLAINS = 1.5  # a lead of at most so many start-ups may be nothing else
CLAIM_WORDS = {"holds": "hold", "holds_here_not_there": "hold in part", "refuted": "are refuted",
               "not_measured": "were not measured"}  # fmt: skip
BUSY_CATEGORIES = ("cpu", "run_queue", "gil_wait", *BLOCKED)
OTHERS = {"thread": "process", "process": "thread"}


def is_proven(bench: Bench) -> bool:
    """Whether anything at all was proven of the winner: a win or a tie."""
    return bench.winner is not None and bool(bench.winner.beats or bench.winner.ties)


def sentences(bench: Bench, claims: Sequence[Judged], experiments: int) -> list[str]:
    """Winner, why, what to do."""
    if not bench.baseline:
        return _of_claims(claims, experiments)
    if bench.winner is None:
        unknown = "Unknown: no round is complete yet, so nothing was compared."
        return [unknown, "Unknown.", "Run the same command again: it continues where it stopped."]
    if not bench.comparisons:
        alone = f"Nothing was compared: {bench.baseline} is the only case."
        return [alone, _why(bench), "Name more modes, as --modes serial,thread,process."]
    return [_which(bench, bench.winner), _why(bench), _what_to_do(bench, bench.winner)]


def stage_rates(bench: Bench) -> list[StageRates]:
    """How fast each mode of a stage was, the other stage being as in the leader; none where there is one mode only."""
    leader = bench.case(_leader(bench))
    if leader is None:
        return []
    return [found for stage in STAGES if len((found := _of_stage(bench, leader, stage)).rates) > 1]


def _of_stage(bench: Bench, leader: BenchCase, stage: str) -> StageRates:
    other = "transform" if stage == "download" else "download"
    cases = [case for case in bench.cases if not case.alone and case.mode(other) == leader.mode(other)
             and case.varied.items() <= leader.varied.items()]  # fmt: skip
    spans = [case.rate_interval or (None, None) for case in cases]
    rates = [ModeRate(name=case.mode(stage), rate=case.median_rate_per_second, low=low, high=high,
                      is_best=case is leader and is_proven(bench))
             for case, (low, high) in zip(cases, spans, strict=True)]  # fmt: skip
    best = leader.mode(stage)
    cause, values = _cause(bench, stage, best)
    return StageRates(
        stage=stage,
        rates=sorted(rates, key=lambda one: MODES.index(one.name)),
        headline=_stage_headline(bench, leader, stage, cases),
        reason=f"{PLURALS.get(best, best)}: {cause_text(cause, Words(values))}" if cause else "unknown: no calibration",
    )


def _stage_headline(bench: Bench, leader: BenchCase, stage: str, cases: Sequence[BenchCase]) -> str:
    """Which mode is best, by how much where that was compared."""
    mode = leader.mode(stage)
    if not is_proven(bench):
        return f"undecided: {mode} has the fastest median"
    seen = [(case.mode(stage), found) for case in cases if (found := relate(bench, leader.name, case.name))]
    told = [f"{significant(found.speed)} times {other}{'' if found.word == 'faster' else f' ({found.word})'}"
            for other, found in seen]  # fmt: skip
    return ", ".join([f"{mode} is best", *told])


def _cause(bench: Bench, stage: str, best: str) -> tuple[Cause | None, dict[str, Value]]:
    """What says most about why the mode is best, from the baseline's waiting and the calibration."""
    model = bench.calibration
    if stage == "download" and best != "serial" and (waits := _network_share(bench)):
        return Cause.WAITING, {"network_share": waits}
    if model is None:
        return None, {}
    costs = getattr(model, stage)
    values: dict[str, Value] = {
        "phi": costs.phi, "cpu_seconds": costs.cpu_seconds, "blocked_seconds": costs.blocked_seconds,
    }  # fmt: skip
    low, high = model.phi_transform_low, model.phi_transform_high
    if stage == "transform" and best == "thread" and high is not None and high * model.cores < 1:
        return Cause.GIL_FREE, values
    if stage == "transform" and best == "process" and low is not None and low * model.cores > 1:
        return Cause.GIL_HELD, values
    return Cause.COST, values


def _network_share(bench: Bench) -> float:
    """How much of the baseline's downloads is waiting for the network; 0 where nothing says so."""
    stage = _download(bench.case(bench.baseline))
    account = stage.account if stage else {}
    busy = sum(account.get(category, 0.0) for category in BUSY_CATEGORIES)
    return account.get("network", 0.0) / busy if busy else 0.0


def _of_claims(claims: Sequence[Judged], experiments: int) -> list[str]:
    """A bench of experiments alone compares no modes of this job."""
    counted = Counter(claim.verdict.value for claim in claims)
    told = ", ".join(f"{counted[word]} {CLAIM_WORDS[word]}" for word in CLAIM_WORDS if counted[word])
    return [
        f"Of {count(len(claims), 'claim')} of the textbook {told or 'none'}, on this machine.",
        f"{count(experiments, 'controlled experiment')} isolated one cause each; "
        "no round of this job was run.",
        "Run the same command without --claims and --experiments to compare the modes on this job itself.",
    ]


def _which(bench: Bench, winner: Winner) -> str:
    rounds, baseline = bench.contamination.rounds or 0, bench.baseline
    if not is_proven(bench):
        fastest = winner.fastest_median
        seen = relate(bench, fastest, baseline)
        speed = f": {_speed(seen, baseline)}" if seen else ""
        return f"Undecided: {fastest} has the fastest median{speed}, but {_doubt(bench, rounds)}."
    name = winner.case
    seen = relate(bench, name, baseline)
    if name == baseline:
        first = f"{name} is enough: no other case is proven faster"
    elif seen and seen.word == "faster":
        first = f"{name} wins: {_speed(seen, baseline)}, faster in {seen.favourable} of {count(rounds, 'round')}"
    else:
        first = f"{name} is the choice{f': {_speed(seen, baseline)} ({seen.word})' if seen else ''}"
    parts = [first + (", as predicted" if winner.predicted else "")]
    beaten = [one for one in winner.beats if one != baseline]
    if beaten:
        parts.append(f"also proven faster than {_some(beaten)}")
    if winner.ties:
        parts.append(f"as fast as {_some(winner.ties)}, but not heavier")
    if winner.not_told_apart:
        parts.append(f"not told apart from {_some(winner.not_told_apart)}")
    return f"{'; '.join(parts)}."


def _speed(seen: Relation, baseline: str) -> str:
    return f"{times(seen.speed)}{span(seen.interval)} the speed of {baseline}"


def _doubt(bench: Bench, rounds: int) -> str:
    compared = len(bench.comparisons)
    fewest = fewest_rounds(compared, bench.settings.level)
    if rounds < fewest:
        made = count(rounds, "round")
        return f"{made} can prove no win in {count(compared, 'comparison')}: it takes at least {fewest}"
    return f"none of {count(compared, 'comparison')} is told apart from noise by {count(rounds, 'round')}"


def _why(bench: Bench) -> str:
    parts = [*_waiting(bench), *_computing(bench), *_rival(bench), *_bound(bench)]
    return f"{'; '.join(parts)}." if parts else "Unknown: neither time breakdowns nor calibration show a cause."


def _waiting(bench: Bench) -> Iterator[str]:
    """What the baseline's download waited for, and how many wait at once in the leader."""
    baseline, leader = _download(bench.case(bench.baseline)), _download(bench.case(_leader(bench)))
    account = baseline.account if baseline else {}
    whole = sum(account.values())
    network = account.get("network", 0.0) / whole if whole else 0.0
    if network < WAITS:
        return
    overlap = ""
    if leader is not None and leader.mode in ("thread", "process"):
        overlap = f", where {_leader(bench)} lets {workers_text(leader.mode, leader.workers)} wait at once"
    yield f"in {bench.baseline} {share(network)} of the time is waiting for the network{overlap}"


def _computing(bench: Bench) -> Iterator[str]:
    """Threads against processes in transform: what the GIL allows, and what was measured."""
    model = bench.calibration
    if model is None or model.phi_transform_low is None or model.phi_transform_high is None or model.cores < 2:
        return
    low, high, cores = model.phi_transform_low, model.phi_transform_high, model.cores
    cpu = seconds(model.transform.cpu_seconds)
    held = f"transform computes {cpu} per image and holds the GIL for {share(low)} to {share(high)} of that"
    if high * cores < 1:
        yield f"{held}, so threads can compute side by side on {significant(cores)} cores"
    elif low * cores > 1:
        yield f"{held}, so threads take turns and only processes use {significant(cores)} cores"
    else:
        yield f"{held}, so on {significant(cores)} cores the model cannot tell threads from processes"


def _rival(bench: Bench) -> Iterator[str]:
    """The leader with its transform in the other of threads and processes, as measured."""
    case = bench.case(_leader(bench))
    if case is None:
        return
    other = OTHERS.get(case.transform, "")
    for one in bench.cases:
        if not one.alone and (one.download, one.transform, one.varied) == (case.download, other, case.varied):
            seen = relate(bench, one.name, case.name)
            if seen is not None:
                speed = f"{times(seen.speed)} of that speed{span(seen.interval)}"
                yield f"with {PLURALS[other]} instead it ran at {speed}: {seen.word}"


def _bound(bench: Bench) -> Iterator[str]:
    """The limit that the model names for the leader, told as a fact only where the prediction held."""
    row = next((one for one in bench.predictions if one.case == _leader(bench)), None)
    error = None if row is None else row.speed_error
    if row is None or error is None or not row.because:
        return
    if abs(error) <= TRUSTED:
        yield f"what is left to limit {_leader(bench)}: {row.because}"
    else:
        yield (f"the model's limit for {_leader(bench)} ({row.because}) does not explain it: the prediction is "
               f"{share(abs(error))} off")  # fmt: skip


def _what_to_do(bench: Bench, winner: Winner) -> str:
    noise = _noise(bench)
    if not is_proven(bench):
        compared = bench.comparisons
        known = [one.rounds_to_decide for one in compared if one.rounds_to_decide]
        rounds = max(fewest_rounds(len(compared), bench.settings.level), min(known, default=0))
        quick = " without --quick" if bench.settings.quick else ""
        asked = f" and with --rounds {rounds}" if rounds > 10 else ""
        return f"Change nothing yet: run the bench again{quick}{asked}{f', {noise}' if noise else ''}."
    case = bench.case(winner.case)
    if case is None:
        return "Change nothing yet: the winner is no case of this bench."
    wanted = {f"{stage}.mode": case.mode(stage) for stage in STAGES} | dict(case.varied)
    new = {key: value for key, value in wanted.items() if _setting(bench.config, key) != value}
    told = ", ".join(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}"
                     for key, value in (new or wanted).items())  # fmt: skip
    first = f"Set {told}" if new else f"Keep {told}: that is what the config says"
    first += _of_starting(bench, case)
    return f"{first}{f'; to be sure, repeat it {noise}' if noise else ''}."


def _of_starting(bench: Bench, winner: BenchCase) -> str:
    """That the other of threads and processes lost by its start alone, which weighs less in a longer run."""
    other = OTHERS.get(winner.transform, "")
    rival = next((one for one in bench.cases if not one.alone and not one.varied
                  and one.transform == other and one.download == winner.download), None)  # fmt: skip
    starts = {row.case: row.start_seconds for row in bench.predictions if row.start_seconds is not None}
    if rival is None or rival.name not in starts or winner.name not in starts:
        return ""
    lost = median(rival.seconds) - median(winner.seconds)
    start = starts[rival.name] - starts[winner.name]
    if not 0 < lost <= START_EXPLAINS * start:
        return ""
    text = f"; {rival.name} took {seconds(lost)} longer, and starting its {PLURALS[other]} takes {seconds(start)}"
    isolated = ", and only a process survives an image that hangs or crashes" if other == "process" else ""
    return f"{text}: in a longer run they come closer{isolated}"


def _noise(bench: Bench) -> str:
    disturbed = bench.contamination.counted_disturbed or 0
    if bench.noise_floor is not None and bench.noise_floor.suspicious:
        return "on a steadier machine (two identical cases differ by more than chance explains)"
    if disturbed:
        rounds = count(bench.contamination.rounds or 0, "round")
        return f"on a machine with nothing else to do ({disturbed} of {rounds} disturbed)"
    return ""


def _leader(bench: Bench) -> str:
    if bench.winner is None:
        return ""
    return bench.winner.case if is_proven(bench) else bench.winner.fastest_median


def _download(case: BenchCase | None) -> BenchStage | None:
    return case.stages.get("download") if case else None


def _setting(config: Mapping[str, object], key: str) -> object:
    table, _, name = key.partition(".")
    found = config.get(table)
    return found.get(name) if isinstance(found, Mapping) else None


def _some(names: Sequence[str]) -> str:
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: NAMED - 1])} and {len(names) - NAMED + 1} others"
