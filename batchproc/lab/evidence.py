"""The tables of the experiments as the claims ask for them: what is missing or uncertain is named, never guessed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from batchproc.explain.words import quantity, significant
from batchproc.lab.results import Number
from batchproc.lab.table import Place, Table

PAYS = 1.1  # less than a tenth gained is not worth a thread's trouble


class NotMeasured(Exception):
    """A claim cannot be judged; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a claim's meaning is worded for: the job's modes, its steps' names, and the cores it may use."""

    download_mode: str
    download_workers: int
    transform_mode: str
    steps: tuple[str, ...]
    cores: int


@dataclass(slots=True, kw_only=True)
class Evidence:
    """Tables by experiment; remembers in `used` which cells were asked for. `failures`: experiments without one."""

    tables: Mapping[str, Table]
    failures: Mapping[str, str] = field(default_factory=dict)
    used: list[Number] = field(default_factory=list)

    def find(self, experiment: str, series: str, x: Place) -> Number | None:
        """The figure of a series at a place; None when the experiment did not give it."""
        table = self.tables.get(experiment)
        found = table.find(series) if table else None
        cell = found.at(x) if found else None
        if table is None or found is None or cell is None:
            return None
        return self._use(Number(
            name=series, unit=found.unit, experiment=experiment, x=cell.x, x_unit=table.x_unit,
            value=cell.value, low=cell.low, high=cell.high, values=cell.values,
        ))  # fmt: skip

    def need(self, experiment: str, series: str, x: Place) -> Number:
        """The figure; raises `NotMeasured` when it is not there."""
        found = self.find(experiment, series, x)
        if found is None:
            raise NotMeasured(f"the experiment {experiment} gave no {series}: {self._why(experiment)}")
        return found

    def need_fact(self, experiment: str, name: str) -> Number:
        """A single number that stands for the whole table; raises `NotMeasured` when it is not there."""
        table = self.tables.get(experiment)
        if table is None or name not in table.facts:
            raise NotMeasured(f"the experiment {experiment} gave no {name}: {self._why(experiment)}")
        value = table.facts[name]
        return self._use(Number(name=name, unit="", experiment=experiment, value=value, values=(value,)))

    def _use(self, number: Number) -> Number:
        if number not in self.used:
            self.used.append(number)
        return number

    def _why(self, experiment: str) -> str:
        silent = "this system does not tell" if experiment in self.tables else "it was not made"
        return self.failures.get(experiment, silent)


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
    return quantity(number.value, number.unit.partition("/")[0])
