"""The numbers of the experiments as the claims ask for them: what is missing or uncertain is told, never guessed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from batchproc.bench.experiments.number import Number
from batchproc.explain.words import seconds, significant, size

PAYS = 1.1  # less than a tenth gained is not worth a thread's trouble


class NotMeasured(Exception):
    """A claim cannot be judged; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a claim's meaning is told for: the job's modes, its steps' names, and the cores it may use."""

    download_mode: str
    download_workers: int
    transform_mode: str
    steps: tuple[str, ...]
    cores: int


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Numbers by experiment; remembers in `used` which were looked at. `failures`: experiments that gave none."""

    numbers: Mapping[str, Sequence[Number]]
    failures: Mapping[str, str] = field(default_factory=dict)
    used: list[Number] = field(default_factory=list)

    def find(self, experiment: str, name: str, x: float | None = None) -> Number | None:
        """The number of that name, at that place of a sweep; None when the experiment did not give it."""
        for number in self.numbers.get(experiment, ()):
            if number.name == name and number.x == x:
                if number not in self.used:
                    self.used.append(number)
                return number
        return None

    def need(self, experiment: str, name: str, x: float | None = None) -> Number:
        """The number; raises `NotMeasured` when it is not there."""
        found = self.find(experiment, name, x)
        if found is None:
            silent = "this system does not tell" if experiment in self.numbers else "it was not made"
            why = self.failures.get(experiment, silent)
            raise NotMeasured(f"the experiment {experiment} gave no {name}: {why}")
        return found


def beyond(number: Number, limit: float, what: str) -> bool:
    """Whether the number is above the limit, its whole interval with it. Raises `NotMeasured` when that is open."""
    if number.low is None or number.high is None:
        raise NotMeasured(f"{what}: {len(number.values)} rounds are too few to tell")
    if number.low > limit:
        return True
    if number.high < limit:
        return False
    between = f"{significant(number.low)} to {significant(number.high)}"
    raise NotMeasured(f"{what}: {between} is too uncertain; the machine was not quiet enough")


def words(number: Number) -> str:
    """A number as people read it; per what, the sentence around it says."""
    unit = number.unit.partition("/")[0]
    if unit == "s":
        return seconds(number.value)
    if unit == "bytes":
        return size(number.value)
    if unit == "x":
        return f"{significant(number.value)} times"
    if unit == "share":
        return f"{100 * number.value:.0f} %"
    return f"{significant(number.value)} {number.unit}"
