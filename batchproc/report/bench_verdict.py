"""A bench in three sentences: which mode wins, why, and what to do. Each says no more than was checked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from batchproc.bench.statistics import fewest_rounds
from batchproc.explain.words import count, crew, seconds, share, significant
from batchproc.lab.results import Judged
from batchproc.report.bench_files import Facts, Relation, baseline_of, from_to, relate, speed_error, times

WAITS = 0.2  # of the download's time on the network, above which waiting is worth telling
TRUSTED = 0.25  # error of a predicted speed, above which its reason is not told as a fact
NAMED = 3
START_EXPLAINS = 1.5  # a lead of at most so many start-ups may be nothing else
CLAIM_WORDS = {"holds": "hold", "holds_here_not_there": "hold in part", "refuted": "are refuted",
               "not_measured": "were not measured"}  # fmt: skip
CREWS = {"thread": "threads", "process": "processes"}


def is_proven(facts: Facts) -> bool:
    """Whether anything at all was proven of the winner: a win or a tie."""
    winner = facts.get("winner") or {}
    return bool(winner.get("beats") or winner.get("ties"))


def sentences(facts: Facts, claims: Sequence[Judged], experiments: int) -> list[str]:
    """Winner, why, what to do."""
    if not baseline_of(facts):
        return _of_claims(claims, experiments)
    if not facts.get("winner"):
        unknown = "Unknown: no round is complete yet, so nothing was compared."
        return [unknown, "Unknown.", "Run the same command again: it continues where it stopped."]
    if not facts.get("comparisons"):
        alone = f"Nothing was compared: {baseline_of(facts)} is the only case."
        return [alone, _why(facts), "Name more modes, as --modes serial,thread,process."]
    return [_which(facts), _why(facts), _what_to_do(facts)]


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


def _which(facts: Facts) -> str:
    winner, baseline = facts["winner"], baseline_of(facts)
    rounds = _rounds(facts)
    if not is_proven(facts):
        fastest = str(winner["fastest_median"])
        seen = relate(facts, fastest, baseline)
        speed = f": {_speed(seen, baseline)}" if seen else ""
        return f"Undecided: {fastest} has the fastest median{speed}, but {_doubt(facts, rounds)}."
    name = str(winner["case"])
    seen = relate(facts, name, baseline)
    if name == baseline:
        first = f"{name} is enough: no other case is proven faster"
    elif seen and seen.word == "faster":
        first = f"{name} wins: {_speed(seen, baseline)}, faster in {seen.favourable} of {count(rounds, 'round')}"
    else:
        first = f"{name} is the choice{f': {_speed(seen, baseline)} ({seen.word})' if seen else ''}"
    parts = [first + (", as predicted" if winner.get("predicted") else "")]
    beaten = [one for one in winner.get("beats") or () if one != baseline]
    if beaten:
        parts.append(f"also proven faster than {_some(beaten)}")
    if winner.get("ties"):
        parts.append(f"as fast as {_some(winner['ties'])}, but not heavier")
    if winner.get("not_told_apart"):
        parts.append(f"not told apart from {_some(winner['not_told_apart'])}")
    return f"{'; '.join(parts)}."


def _speed(seen: Relation, baseline: str) -> str:
    span = f" ({from_to(seen.interval)})" if seen.interval else ""
    return f"{times(seen.speed)}{span} the speed of {baseline}"


def _doubt(facts: Facts, rounds: int) -> str:
    compared = len(facts.get("comparisons") or ())
    fewest = fewest_rounds(compared, _level(facts))
    if rounds < fewest:
        made = count(rounds, "round")
        return f"{made} can prove no win in {count(compared, 'comparison')}: it takes at least {fewest}"
    return f"none of {count(compared, 'comparison')} is told apart from noise by {count(rounds, 'round')}"


def _why(facts: Facts) -> str:
    parts = [*_waiting(facts), *_computing(facts), *_rival(facts), *_bound(facts)]
    return f"{'; '.join(parts)}." if parts else "Unknown: the accounts and the calibration do not show a cause."


def _waiting(facts: Facts) -> Iterator[str]:
    """What the baseline's download waited for, and how many wait at once in the leader."""
    baseline, leader = _case(facts, baseline_of(facts)), _case(facts, _leader(facts))
    account = _account(baseline, "download")
    whole = sum(account.values())
    network = account.get("network", 0.0) / whole if whole else 0.0
    if network < WAITS:
        return
    stage = (leader.get("stages") or {}).get("download") or {}
    overlap = ""
    if stage.get("mode") in ("thread", "process"):
        overlap = f", where {_leader(facts)} lets {crew(stage['mode'], int(stage['workers']))} wait at once"
    yield f"in {baseline_of(facts)} {share(network)} of the time is waiting for the network{overlap}"


def _computing(facts: Facts) -> Iterator[str]:
    """Threads against processes in transform: what the GIL allows, and what was measured."""
    calibration = facts.get("calibration") or {}
    low, high = calibration.get("phi_transform_low"), calibration.get("phi_transform_high")
    cores = float(calibration.get("cores") or 0)
    if low is None or high is None or cores < 2:
        return
    cpu = seconds((calibration.get("transform") or {}).get("cpu_seconds"))
    held = f"transform computes {cpu} per picture and holds the GIL for {share(low)} to {share(high)} of that"
    if high * cores < 1:
        yield f"{held}, so threads can compute side by side on {significant(cores)} cores"
    elif low * cores > 1:
        yield f"{held}, so threads take turns and only processes use {significant(cores)} cores"
    else:
        yield f"{held}, so on {significant(cores)} cores the model cannot tell threads from processes"


def _rival(facts: Facts) -> Iterator[str]:
    """The leader with its transform in the other of threads and processes, as measured."""
    case = _case(facts, _leader(facts))
    other = {"thread": "process", "process": "thread"}.get(str(case.get("transform")))
    alike = ("download", "varied")
    for one in facts.get("cases") or ():
        if not one.get("alone") and one["transform"] == other and all(one[key] == case[key] for key in alike):
            seen = relate(facts, str(one["name"]), str(case["name"]))
            if seen is not None:
                span = f" ({from_to(seen.interval)})" if seen.interval else ""
                yield f"with {CREWS[str(other)]} instead it ran at {times(seen.speed)} of that speed{span}: {seen.word}"


def _bound(facts: Facts) -> Iterator[str]:
    """The limit that the model names for the leader, told as a fact only where the prediction held."""
    row = next((one for one in facts.get("predictions") or () if one["case"] == _leader(facts)), None)
    error = None if row is None else speed_error(row)
    if row is None or error is None or not row.get("because"):
        return
    if abs(error) <= TRUSTED:
        yield f"what is left to limit {_leader(facts)}: {row['because']}"
    else:
        yield (f"the model's limit for {_leader(facts)} ({row['because']}) does not explain it: the prediction is "
               f"{share(abs(error))} off")  # fmt: skip


def _what_to_do(facts: Facts) -> str:
    noise = _noise(facts)
    if not is_proven(facts):
        compared = facts.get("comparisons") or ()
        known = [one["rounds_to_decide"] for one in compared if one.get("rounds_to_decide")]
        rounds = max(fewest_rounds(len(compared), _level(facts)), min(known, default=0))
        quick = " without --quick" if (facts.get("settings") or {}).get("quick") else ""
        asked = f" and with --rounds {rounds}" if rounds > 10 else ""
        return f"Change nothing yet: run the bench again{quick}{asked}{f', {noise}' if noise else ''}."
    case, config = _case(facts, str(facts["winner"]["case"])), facts.get("config") or {}
    wanted = {f"{stage}.mode": case[stage] for stage in ("download", "transform")} | dict(case.get("varied") or {})
    new = {key: value for key, value in wanted.items() if _setting(config, key) != value}
    told = ", ".join(f"{key} = {_quoted(value)}" for key, value in (new or wanted).items())
    first = f"Set {told}" if new else f"Keep {told}: that is what the config says"
    first += _of_starting(facts, case)
    return f"{first}{f'; to be sure, repeat it {noise}' if noise else ''}."


def _of_starting(facts: Facts, winner: Facts) -> str:
    """That the other of threads and processes lost by its start alone, which weighs less in a longer run."""
    other = {"thread": "process", "process": "thread"}.get(str(winner.get("transform")))
    rival = next((one for one in facts.get("cases") or () if not one.get("alone") and not one.get("varied")
                  and one["transform"] == other and one["download"] == winner.get("download")), None)  # fmt: skip
    starts = {row["case"]: row.get("start_seconds") for row in facts.get("predictions") or ()}
    if rival is None or None in (starts.get(rival["name"]), starts.get(winner["name"])):
        return ""
    lost = median(rival["seconds"]) - median(winner["seconds"])
    start = starts[rival["name"]] - starts[winner["name"]]
    if not 0 < lost <= START_EXPLAINS * start:
        return ""
    text = f"; {rival['name']} took {seconds(lost)} longer, and starting its {CREWS[str(other)]} takes {seconds(start)}"
    isolated = ", and only a process survives a picture that hangs or crashes" if other == "process" else ""
    return f"{text}: in a longer run they come closer{isolated}"


def _noise(facts: Facts) -> str:
    disturbed = int((facts.get("contamination") or {}).get("counted_disturbed") or 0)
    if (facts.get("noise_floor") or {}).get("suspicious"):
        return "on a steadier machine (two identical cases differ by more than chance explains)"
    if disturbed:
        return f"on a machine with nothing else to do ({disturbed} of {count(_rounds(facts), 'round')} disturbed)"
    return ""


def _leader(facts: Facts) -> str:
    winner = facts["winner"]
    return str(winner["case"] if is_proven(facts) else winner["fastest_median"])


def _case(facts: Facts, name: str) -> Facts:
    return next((case for case in facts.get("cases") or () if case["name"] == name), {})


def _account(case: Facts, stage: str) -> dict[str, float]:
    return dict(((case.get("stages") or {}).get(stage) or {}).get("account") or {})


def _rounds(facts: Facts) -> int:
    return int((facts.get("contamination") or {}).get("rounds") or 0)


def _level(facts: Facts) -> float:
    return float((facts.get("settings") or {}).get("level") or 0.05)


def _setting(config: Facts, key: str) -> Any:
    table, _, name = key.partition(".")
    return (config.get(table) or {}).get(name)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _some(names: Sequence[str]) -> str:
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{', '.join(names[: NAMED - 1])} and {len(names) - NAMED + 1} others"
