"""A bench in three sentences: which mode wins, why, and what to do. Each says no more than was checked."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from batchproc.bench.bench_json import Bench, BenchCase, BenchStage, Winner
from batchproc.bench.verdicts import fewest_rounds
from batchproc.explain.mode_wording import ModeRate, StageRates, cause_text
from batchproc.explain.words import Words, count, crew, seconds, share, significant
from batchproc.lab.results import Judged
from batchproc.record.explanation import Cause, Value
from batchproc.record.run_parts import MODES
from batchproc.report.bench_files import Relation, from_to, relate, times

WAITS = 0.2  # of the download's time on the network, above which waiting is worth telling
TRUSTED = 0.25  # error of a predicted speed, above which its reason is not told as a fact
NAMED = 3
START_EXPLAINS = 1.5  # a lead of at most so many start-ups may be nothing else
CLAIM_WORDS = {"holds": "hold", "holds_here_not_there": "hold in part", "refuted": "are refuted",
               "not_measured": "were not measured"}  # fmt: skip
BUSY_BUCKETS = ("cpu", "run_queue", "gil_wait", "network", "disk_or_lock", "blocked")  # with an image in hand
CREWS = {"thread": "threads", "process": "processes"}
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
    return [found for stage in ("download", "transform") if len((found := _of_stage(bench, leader, stage)).rates) > 1]


def _of_stage(bench: Bench, leader: BenchCase, stage: str) -> StageRates:
    other = "transform" if stage == "download" else "download"
    cases = [case for case in bench.cases if not case.alone and case.mode(other) == leader.mode(other)
             and case.varied.items() <= leader.varied.items()]  # fmt: skip
    rates = [_mode_rate(case, stage, is_best=case is leader and is_proven(bench)) for case in cases]
    best = leader.mode(stage)
    cause, values = _cause(bench, stage, best)
    return StageRates(
        stage=stage,
        rates=sorted(rates, key=lambda one: MODES.index(one.name)),
        headline=_stage_headline(bench, leader, stage, cases),
        reason=f"{CREWS.get(best, best)}: {cause_text(cause, Words(values))}" if cause else "unknown: no calibration",
    )


def _mode_rate(case: BenchCase, stage: str, *, is_best: bool) -> ModeRate:
    low, high = case.rate_interval or (None, None)
    return ModeRate(name=case.mode(stage), rate=case.median_rate_per_second, low=low, high=high, is_best=is_best)


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
    busy = sum(account.get(bucket, 0.0) for bucket in BUSY_BUCKETS)
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
    rounds, baseline = _rounds(bench), bench.baseline
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
    span = f" ({from_to(seen.interval)})" if seen.interval else ""
    return f"{times(seen.speed)}{span} the speed of {baseline}"


def _doubt(bench: Bench, rounds: int) -> str:
    compared = len(bench.comparisons)
    fewest = fewest_rounds(compared, bench.settings.level)
    if rounds < fewest:
        made = count(rounds, "round")
        return f"{made} can prove no win in {count(compared, 'comparison')}: it takes at least {fewest}"
    return f"none of {count(compared, 'comparison')} is told apart from noise by {count(rounds, 'round')}"


def _why(bench: Bench) -> str:
    parts = [*_waiting(bench), *_computing(bench), *_rival(bench), *_bound(bench)]
    return f"{'; '.join(parts)}." if parts else "Unknown: the accounts and the calibration do not show a cause."


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
        overlap = f", where {_leader(bench)} lets {crew(leader.mode, leader.workers)} wait at once"
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
                span = f" ({from_to(seen.interval)})" if seen.interval else ""
                yield f"with {CREWS[other]} instead it ran at {times(seen.speed)} of that speed{span}: {seen.word}"


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
    wanted = {f"{stage}.mode": case.mode(stage) for stage in ("download", "transform")} | dict(case.varied)
    new = {key: value for key, value in wanted.items() if _setting(bench.config, key) != value}
    told = ", ".join(f"{key} = {_quoted(value)}" for key, value in (new or wanted).items())
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
    text = f"; {rival.name} took {seconds(lost)} longer, and starting its {CREWS[other]} takes {seconds(start)}"
    isolated = ", and only a process survives an image that hangs or crashes" if other == "process" else ""
    return f"{text}: in a longer run they come closer{isolated}"


def _noise(bench: Bench) -> str:
    disturbed = bench.contamination.counted_disturbed or 0
    if bench.noise_floor is not None and bench.noise_floor.suspicious:
        return "on a steadier machine (two identical cases differ by more than chance explains)"
    if disturbed:
        return f"on a machine with nothing else to do ({disturbed} of {count(_rounds(bench), 'round')} disturbed)"
    return ""


def _leader(bench: Bench) -> str:
    if bench.winner is None:
        return ""
    return bench.winner.case if is_proven(bench) else bench.winner.fastest_median


def _download(case: BenchCase | None) -> BenchStage | None:
    return case.stages.get("download") if case else None


def _rounds(bench: Bench) -> int:
    return bench.contamination.rounds or 0


def _setting(config: Mapping[str, object], key: str) -> object:
    table, _, name = key.partition(".")
    found = config.get(table)
    return found.get(name) if isinstance(found, Mapping) else None


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _some(names: Sequence[str]) -> str:
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: NAMED - 1])} and {len(names) - NAMED + 1} others"
