"""bench.json: everything measured so far, replaced whole after each case, and the rounds that it still lacks.

Which comes next is decided by what was made, so that a bench that was stopped just goes on.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.bench.cases import Case
from batchproc.bench.result import CaseResult
from batchproc.bench.schedule import LOOKS, WARM_UP, Attempt, Schedule, disturbances, must_rerun, next_look, worst_of
from batchproc.errors import DiskError
from batchproc.sink import write_atomically

FILE_NAME = "bench.json"
SCHEMA = 1
RunCase = Callable[[Case], CaseResult]
CountUndecided = Callable[[int], int]  # of the first so many rounds


@dataclass(slots=True, kw_only=True)
class Round:
    """One attempt at one round; its runs come in one by one, in `order`."""

    number: int  # 0 is the warm-up
    attempt: int
    order: tuple[str, ...]
    runs: dict[str, CaseResult] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every case ran. A round that was cut is made again whole: its runs are to share their conditions."""
        return len(self.runs) == len(self.order)

    @property
    def disturbances(self) -> tuple[str, ...]:
        """What the machine did besides, in words."""
        return disturbances(worst_of(run.conditions for run in self.runs.values()))

    def to_json(self) -> dict[str, Any]:
        """An element of `rounds` in bench.json."""
        return {
            "number": self.number,
            "attempt": self.attempt,
            "order": self.order,
            "complete": self.complete,
            "disturbances": self.disturbances,
            "runs": {name: run.to_json() for name, run in self.runs.items()},
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Round":
        """What `to_json` wrote."""
        return cls(
            number=facts["number"],
            attempt=facts["attempt"],
            order=tuple(facts["order"]),
            runs={name: CaseResult.from_json(run) for name, run in facts["runs"].items()},
        )


@dataclass(slots=True, kw_only=True)
class Record:
    """One bench on disk. `header` is what was fixed before the first round, `found` what follows from the rounds."""

    folder: Path
    header: dict[str, Any]
    rounds: list[Round] = field(default_factory=list)
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def measured(self) -> list[Round]:
        """The complete rounds after the warm-up, in the order they were made, disturbed ones included."""
        return [one for one in self.rounds if one.complete and one.number != WARM_UP]

    @property
    def attempts(self) -> list[Attempt]:
        """What the rule for disturbed rounds looks at."""
        return [Attempt(number=one.number, disturbances=one.disturbances) for one in self.measured]

    def to_json(self) -> dict[str, Any]:
        """The content of bench.json."""
        rounds = [one.to_json() for one in self.rounds]
        header = {"schema": SCHEMA, **self.header, "header_keys": list(self.header)}
        return {**header, "rounds": rounds, "complete": False, **self.found}

    def save(self) -> None:
        """Replaces bench.json. Raises `DiskError`."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False)
        try:
            write_atomically(self.folder / FILE_NAME, [text.encode(), b"\n"])
        except OSError as error:
            raise DiskError(f"{self.folder / FILE_NAME}: cannot be written: {error.strerror}") from error


def fingerprint(identity: Mapping[str, Any]) -> str:
    """What tells one bench from another: only with the same one an interrupted bench is continued."""
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def find_unfinished(root: Path, wanted: str) -> Record | None:
    """The newest bench in `root` that was interrupted and has this fingerprint."""
    for path in sorted(root.glob(f"*/{FILE_NAME}"), reverse=True):
        facts = json.loads(path.read_bytes())
        if path.parent.is_symlink() or facts.get("fingerprint") != wanted or facts.get("complete", True):
            continue
        rounds = [Round.from_json(one) for one in facts.pop("rounds")]
        return Record(folder=path.parent, header=_header(facts), rounds=rounds)
    return None


def new_folder(root: Path, now: datetime) -> Path:
    """Makes the folder of a bench that starts `now`, named by its UTC second; `-2` and up for more in one second."""
    name = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder, number = root / name, 1
    while folder.exists():
        number += 1
        folder = root / f"{name}-{number}"
    folder.mkdir()
    return folder


def _header(facts: Mapping[str, Any]) -> dict[str, Any]:
    names: Sequence[str] = facts["header_keys"]
    return {name: facts[name] for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long a bench is: a number of rounds, or as many as the looks ask for; and whether disturbed ones count.

    `rerun` False takes every round as it is, for a bench that is indicative only.
    """

    rounds: int
    until_decided: bool = False
    rerun: bool = True


def next_round(record: Record, length: Length, count_undecided: CountUndecided) -> tuple[int, int] | None:
    """Number and attempt of the next round to make; None when all is done."""
    complete = [one for one in record.rounds if one.complete]
    if not complete:
        return WARM_UP, 1
    last = complete[-1]
    if length.rerun and must_rerun(record.attempts):
        return last.number, last.attempt + 1
    target = _looked_target(last.number, count_undecided) if length.until_decided else length.rounds
    return (last.number + 1, 1) if last.number < target else None


def make_rounds(
    record: Record,
    schedule: Schedule,
    cases: Mapping[str, Case],
    length: Length,
    run_case: RunCase,
    count_undecided: CountUndecided,
    *,
    saved: Callable[[Round], None],
) -> None:
    """Makes what is missing. `run_case` runs one case; `saved` is called after each, when it is in the record."""
    entries = {**cases, schedule.again: cases[schedule.baseline]}
    while (task := next_round(record, length, count_undecided)) is not None:
        number, attempt = task
        one = Round(number=number, attempt=attempt, order=schedule.order(number, attempt))
        record.rounds.append(one)
        for entry in one.order:
            one.runs[entry] = run_case(entries[entry])
            saved(one)


def _looked_target(made: int, count_undecided: CountUndecided) -> int:
    """How many rounds the looks up to now ask for: each sees only the rounds before it, as when it was taken."""
    target = LOOKS[0]
    while made >= target:
        further = next_look(target, undecided=count_undecided(target))
        if further is None:
            return target
        target = further
    return target
