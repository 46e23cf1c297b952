"""Says in which modes a run goes on: those of the config, else calibration, perhaps a race, then the rest.

    usual modes --8 items, at most 2 s--> predict every pair --+--> go on
                                                               +--> try the rival --+--> go on
                                                                                    +--> back, and perhaps look again

Every item that is worked on here is one of the job's own, and its result is kept.
"""

import itertools
import time
from collections.abc import Callable, Sequence

from msgspec.structs import asdict, replace

from batchproc.config import Config
from batchproc.explain import auto
from batchproc.explain.auto import Decision
from batchproc.explain.mode_wording import auto_text
from batchproc.explain.run_model import RunModel
from batchproc.pipeline.stages import make_plan
from batchproc.record.explanation import AutoReason, AutoRecord, AutoVerdict, Candidate, ExecutionPlan, Tried
from batchproc.record.run_parts import MODES

LEAST_HEARD = 8
ENOUGH_HEARD = 200  # then less will do
PATIENCE_SECONDS, HASTE_SECONDS = 2.0, 1.5
WARM_UP_SECONDS = 0.5  # after a phase's first item, before its rate is taken: connections are made, the line fills

Clock = Callable[[], float]
Snapshot = Callable[[], RunModel | None]


class ModeSelector:
    """Says in which modes the run goes on. Used by the main thread alone, which tells it of every item that is done."""

    def __init__(
        self, config: Config, work: int, *, fragile: bool = False, clock: Clock = time.perf_counter
    ) -> None:
        self.fragile = fragile  # a worker was lost on one of the items, now or in an earlier run
        self.plan = make_plan(config)  # of the phase under way
        self._work = work
        self._clock = clock
        self._asked = [name for name in ("download", "transform") if getattr(config, name).mode == "auto"]
        self._plans = _pairs(config)
        self._open_web = config.origin is None
        self._settled = not self._asked or work < auto.LEAST_ITEMS
        self._began = self.plan
        self._decision = _before(work)
        self._ranked: Sequence[Candidate] = ()
        self._run: RunModel | None = None
        self._own_rates: tuple[float, ...] = ()
        self._rival: Candidate | None = None  # of the race, once there is one
        self._rival_rate = 0.0
        self._phases: list[Tried] = []
        self._is_ending = False  # what is in flight comes to its end, which says nothing of any modes
        self._phase_items = self._warm_items = self._done = 0
        self._phase_started = self._first_at = self._warm_at = clock()

    def begin_phase(self) -> None:
        """The workers of `plan` begin."""
        self._is_ending = False
        self._phase_items = 0
        self._phase_started = self._warm_at = self._clock()

    def on_outcome(self, items: int, snapshot: Snapshot) -> bool:
        """Hears that the phase has come to so many items; true when it is to end, because `plan` was changed.

        `snapshot` measures the phase as far as it has come; it is asked once.
        """
        if self._settled or self._is_ending or items == self._phase_items:
            return False
        now = self._clock()
        if not self._phase_items:
            self._first_at = now
        if now - self._first_at <= WARM_UP_SECONDS:
            self._warm_at, self._warm_items = now, items
        self._phase_items = items
        if not self._has_seen_enough(now):
            return False
        before = self.plan
        rate = (items - self._warm_items) / (now - self._warm_at)
        rest = self._work - self._done - items
        if self._run is None or self._rival is None:
            self._calibrated(snapshot(), rate, rest)
        else:
            self._raced(self._run, self._rival, rate, rest)
        self._is_ending = self.plan != before
        return self._is_ending

    def end_phase(self, plan: ExecutionPlan, items: int, seconds: float) -> None:
        """The phase has ended, after so many items."""
        self._done += items
        rate = items / seconds if seconds else None
        self._phases.append(Tried(**asdict(plan), items=items, seconds=seconds, rate_per_second=rate))

    def describe(self) -> AutoRecord | None:
        """How the modes were found; None when the config names both modes."""
        if not self._asked:
            return None
        rival = self._decision.rival
        found = AutoRecord(
            stages=tuple(self._asked),
            verdict=self._decision.verdict.value,
            reason=self._decision.reason.value,
            values=self._decision.values,
            began=self._began,
            chosen=self.plan,
            runner_up=rival.plan if rival else None,
            margin=self._decision.margin,
            inputs=auto.describe_inputs(self._run) if self._run else None,
            candidates=tuple(self._ranked),
            legs=tuple(self._phases),
        )
        return replace(found, text=auto_text(found))

    def _has_seen_enough(self, now: float) -> bool:
        if self._phase_items < LEAST_HEARD or self._phase_items <= self._warm_items:
            return False
        limit = HASTE_SECONDS if self._phase_items >= ENOUGH_HEARD else PATIENCE_SECONDS
        return now - self._phase_started >= limit

    def _calibrated(self, run: RunModel | None, rate: float, rest: int) -> None:
        if run is None or rest <= 0:
            self._settled = True
            return
        self._run = run
        self._own_rates = (rate,)
        self._ranked = auto.rank(run, self._plans, rate_per_second=rate, rest=rest)
        self._decision = auto.choose(run, self._ranked, open_web=self._open_web, fragile=self.fragile)
        self._settled = self._decision.verdict is not AutoVerdict.RACE
        if self._decision.rival is not None and not self._settled:
            self._rival = self._decision.rival
            self.plan = self._rival.plan

    def _raced(self, run: RunModel, rival: Candidate, rate: float, rest: int) -> None:
        """A window of the race is over: the rival's, or the second of the pair that the run began in."""
        own = run.plan
        if self.plan == rival.plan:
            self._rival_rate, judge = rate, auto.after_trying
        else:
            self._own_rates, judge = (*self._own_rates, rate), auto.after_returning
        self._decision = judge(
            auto.Race(
                own=own,
                rival=rival,
                own_rates=self._own_rates,
                rival_rate=self._rival_rate,
                rest=rest,
                change_seconds=auto.change_seconds(run, own if self.plan == rival.plan else rival.plan),
                open_web=self._open_web,
                fragile=self.fragile,
            )
        )
        self._settled = self._decision.verdict is not AutoVerdict.RACE
        self.plan = rival.plan if self._decision.verdict is AutoVerdict.CHANGED else own


def _pairs(config: Config) -> list[ExecutionPlan]:
    """Every pair of modes that the config leaves open."""
    sides = [MODES if table.mode == "auto" else (table.first_mode,) for table in (config.download, config.transform)]
    return [make_plan(config, download, transform) for download, transform in itertools.product(*sides)]


def _before(work: int) -> Decision:
    """What is to be said as long as nothing was measured."""
    if work < auto.LEAST_ITEMS:
        return Decision(verdict=AutoVerdict.NOT_WORTH_IT, reason=AutoReason.FEW_ITEMS, values={"items": work})
    return Decision(verdict=AutoVerdict.TOO_SHORT, reason=AutoReason.ENDED_EARLY)
