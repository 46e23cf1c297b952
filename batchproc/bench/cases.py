"""What a bench compares: the pairs of modes, times the values of `[bench] vary`, and the comparisons among them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from batchproc.bench.job_copy import toml_value
from batchproc.bench.verdicts import against, every_two, weight_of
from batchproc.errors import Problem, UsageError
from batchproc.model import Mode

# What the bench itself decides, or what would change the work: the same in every case.
FIXED_TABLES = frozenset(("job", "origin", "bench", "report", "metrics"))
FIXED_KEYS = frozenset(("download.mode", "transform.mode", "download.allow_addresses", "download.proxy"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One configuration. `varied` holds dotted keys of `[bench] vary` with their values, in the order of the config.

    `alone` names the stage that runs by itself, empty for a whole run; the other one's mode then means nothing.
    """

    download: Mode
    transform: Mode
    varied: tuple[tuple[str, Any], ...] = ()
    alone: str = ""

    @property
    def name(self) -> str:
        """As `thread+process`, `thread+process transform.workers=2`, or `transform alone: thread`."""
        if self.alone:
            return alone_name(self.alone, self.download)
        varied = [f"{key}={_shown(value)}" for key, value in self.varied]
        return " ".join([f"{self.download}+{self.transform}", *varied])

    @property
    def overrides(self) -> tuple[str, ...]:
        """What `--set` is given, as KEY=VALUE."""
        modes = (f'download.mode="{self.download}"', f'transform.mode="{self.transform}"')
        return (*modes, *(f"{key}={toml_value(value)}" for key, value in self.varied))

    @property
    def weight(self) -> tuple[int, int]:
        """How heavy it is, for the choice between ties."""
        return weight_of(self.download) if self.alone else weight_of(self.download, self.transform)

    @property
    def baseline(self) -> str:
        """The name of what it is compared with when it is a stage alone: the same stage, serial."""
        return alone_name(self.alone, Mode.SERIAL)


def alone_name(stage: str, mode: Mode) -> str:
    """The name of a stage's case."""
    return f"{stage} alone: {mode}"


def make_alone_cases(cases: Sequence[Case]) -> tuple[Case, ...]:
    """Each stage by itself, in every mode that it has in `cases`, serial first."""
    found = []
    for stage in ("download", "transform"):
        modes = dict.fromkeys([Mode.SERIAL, *(getattr(case, stage) for case in cases)])
        found += [Case(download=mode, transform=mode, alone=stage) for mode in modes]
    return tuple(found)


def make_cases(modes: Sequence[str], vary: Mapping[str, Sequence[Any]]) -> tuple[Case, ...]:
    """Every case, the baseline first. Raises `UsageError`.

    `modes` holds modes, which are combined with each other, and pairs as `thread+process`, which are taken as they are.
    The baseline serial + serial, with the first of all varied values, is always among them.
    """
    _refuse_fixed(vary)
    pairs = dict.fromkeys([(Mode.SERIAL, Mode.SERIAL), *_pairs(modes)])
    values = [tuple((key, value) for value in vary[key]) for key in vary]
    return tuple(dict.fromkeys(_case(pair, varied) for pair in pairs for varied in product(*values)))


def plan_comparisons(cases: Sequence[Case], favourite: str) -> tuple[tuple[str, str], ...]:
    """What is compared, fixed before the first round: all with the baseline, and the predicted winner with all.

    The second half is what allows to name a winner: one chosen after the measurement would have to be counted as a
    choice among all pairs. Empty `favourite`: nothing was predicted, then only the first half. Of a stage alone all
    modes are compared with each other.
    """
    names, baseline = [case.name for case in cases if not case.alone], cases[0].name
    plan = against(baseline, names)
    if favourite not in ("", baseline):
        plan += tuple((favourite, name) for name in names if name not in (favourite, baseline))
    for stage in ("download", "transform"):
        alone = [case.name for case in cases if case.alone == stage]
        plan += tuple((heavier, lighter) for lighter, heavier in every_two(alone))
    return plan


def named(cases: Iterable[Case]) -> dict[str, Case]:
    """The cases by name."""
    return {case.name: case for case in cases}


def _pairs(modes: Sequence[str]) -> Iterator[tuple[Mode, Mode]]:
    """The grid of the single modes, then the pairs given as such."""
    problems = []
    singles: list[Mode] = []
    given: list[tuple[Mode, Mode]] = []
    for text in modes:
        words = text.strip().split("+")
        if len(words) > 2 or any(word not in list(Mode) for word in words):
            message = "must be serial, thread or process, or two of them as thread+process"
            problems.append(Problem(where=f"--modes {text}", message=message))
        elif len(words) == 2:
            given.append((Mode(words[0]), Mode(words[1])))
        else:
            singles.append(Mode(words[0]))
    if problems:
        raise UsageError(problems)
    yield from product(singles, singles)
    yield from given


def _case(pair: tuple[Mode, Mode], varied: tuple[tuple[str, Any], ...]) -> Case:
    """The number of workers is no matter to a serial stage, so such cases are one."""
    modes = dict(zip(("download", "transform"), pair, strict=True))
    idle = {f"{stage}.workers" for stage, mode in modes.items() if mode is Mode.SERIAL}
    return Case(**modes, varied=tuple(one for one in varied if one[0] not in idle))


def _refuse_fixed(vary: Mapping[str, Sequence[Any]]) -> None:
    problems = []
    for key, values in vary.items():
        if key.split(".")[0] in FIXED_TABLES or key in FIXED_KEYS:
            message = "is the same in every case: the bench decides it, or it would change the work"
            problems.append(Problem(where=f"[bench] vary {key}", message=message))
        if not values:
            problems.append(Problem(where=f"[bench] vary {key}", message="must have at least one value"))
    if problems:
        raise UsageError(problems)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
