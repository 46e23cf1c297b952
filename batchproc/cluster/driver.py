"""Hands out the parts of a job and puts down what came of them, until there is nothing left that can be done.

A part is handed out again when its attempt failed, and put into quarantine when that has happened too often. What one
leaves behind because its time was over becomes a part of its own. Nothing is handed out twice at a time, and the loop
waits for nothing longer than a moment: a lost worker, scheduler or signal is noticed there.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import uuid4

from msgspec.structs import replace

from batchproc.cluster.engine import DaskEngine, LostEngineError
from batchproc.cluster.part_ledger import QUARANTINED, WAITING, PartLedger
from batchproc.cluster.shard_plan import FOLDER, ClusterPlan, PartManifest, PendingPart
from batchproc.cluster.task import AT_THE_END_SECONDS, PartOutcome, PartTask, machine_of
from batchproc.config import ClusterTable, Config
from batchproc.errors import ExecutorError, UsageError


class PartQueue:
    """Parts in the order in which they came; of those of one domain only one is out at a time. For one thread.

    What follows upon a part comes before all others: a row of slices takes its time whatever the workers, and would
    last beyond the rest if each of its slices had to wait for that.
    """

    def __init__(self) -> None:
        self._ready: deque[PendingPart] = deque()
        self._held: dict[str, deque[PendingPart]] = {}  # by domain, of which one is out or ready

    def __bool__(self) -> bool:
        """Whether there is one to hand out now."""
        return bool(self._ready)

    @property
    def size(self) -> int:
        """How many wait, those included that have to."""
        return len(self._ready) + sum(map(len, self._held.values()))

    def add(self, part: PendingPart) -> None:
        """Another part."""
        if part.domain is None:
            self._ready.append(part)
        elif part.domain in self._held:
            self._held[part.domain].append(part)
        else:
            self._held[part.domain] = deque()
            self._ready.append(part)

    def take(self) -> PendingPart:
        """The next one, which is out until it is put down. Raises IndexError."""
        return self._ready.popleft()

    def put_down(self, part: PendingPart) -> None:
        """It is not worked on any more: the next one of its domain may be handed out."""
        if part.domain is None:
            return
        held = self._held[part.domain]
        if held:
            self._ready.appendleft(held.popleft())
        else:
            del self._held[part.domain]


TICK_SECONDS = 0.5
WORKERLESS_SECONDS = 600.0  # without a worker or a word of one: a batch system may take its time to start some
RECONNECT_SECONDS = 300.0
BETWEEN_TRIES_SECONDS = 3.0
SILENT_SECONDS = 30.0  # until a worker that did not answer is asked again


class Driver:
    """Around one plan, with an engine of its own from `open` to `close`. For one thread; `stop` is a signal handler's.

    `note` takes a line for the user, `committed` a part that is done. `joined` is given workers that were not there
    before, returns who has answered, and raises `UsageError` where one must not work.
    """

    def __init__(
        self,
        config: Config,
        plan: ClusterPlan,
        ledger: PartLedger,
        open_engine: Callable[[], DaskEngine],
        *,
        note: Callable[[str], None],
        committed: Callable[[PartManifest], None],
        joined: Callable[[DaskEngine, Collection[str]], Collection[str]],
        store: str,
        amended: Callable[[PendingPart], PendingPart] = lambda part: part,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        assert config.cluster is not None
        self._table: ClusterTable = config.cluster
        self._config = config
        self._plan = plan
        self._ledger = ledger
        self._open_engine = open_engine
        self._note, self._committed, self._joined = note, committed, joined
        self._store = store
        self._amended = amended
        self._clock = clock
        self._sleep = sleep
        self._run = uuid4().hex
        self.engine: DaskEngine | None = None
        self._queue = PartQueue()
        self._out: dict[tuple[int, int], PendingPart] = {}
        self.is_over = False  # the job's time was
        self._stops = 0  # how often it was told to
        self._over_at = clock() + config.job.max_duration if config.job.max_duration else None
        self._stop_by: float | None = None
        self._slots: dict[str, int] = {}
        self._slots_of_machines: Counter[str] = Counter()
        self._known: set[str] = set()  # workers that may work
        self._silent_until: dict[str, float] = {}  # by worker
        self._probed = self._last_word = clock()

    def open(self) -> DaskEngine:
        """Opens the engine. Raises `UsageError` where there is none."""
        self.engine = self._open_engine()
        return self.engine

    def close(self) -> None:
        """Takes back what is out. May be called whatever has happened."""
        if self.engine is not None:
            self.engine.close()

    def stop(self) -> None:
        """Nothing more is handed out; what is out may commit what it has. The second time that is not waited for."""
        self._stops += 1

    def describe(self) -> str:
        """How far it is, for whoever asks. From any thread."""
        return f"{len(self._out):,} parts handed out, {self._queue.size:,} waiting"

    def work(self) -> None:
        """Works until nothing is left, or it was stopped.

        Raises `ExecutorError` where nobody is there to work, `UsageError` for a worker that must not, and `DiskError`.
        """
        # What was added to the list comes behind all that was left before: both may ask the same hosts.
        for list_name in dict.fromkeys(shard.list_name for shard in self._plan.shards):
            self._fill(list_name)
            while self._out or (self._queue and not self._stops):
                try:
                    self._turn(self.engine or self.open())
                except LostEngineError as error:
                    self._find_again(error)
                if self._stops > 1 or (self._stop_by is not None and self._clock() > self._stop_by):
                    return
        if self.engine is not None and not self._stops:
            with suppress(LostEngineError):
                self.engine.stop_parts(self._run)  # nowhere a process has to wait for another part of it

    def _fill(self, list_name: str) -> None:
        """Queues what is not done of a list: parts, and what earlier runs left of them; slices of big domains first."""
        known = {row.place: row for row in self._ledger.rows()}
        last = self._ledger.last_committed()
        base = 0
        parts: list[PendingPart] = []
        for shard in self._plan.shards:
            part = PendingPart(
                number=shard.number,
                generation=0,
                list_name=f"{FOLDER}/{self._plan.name}/{list_name}",
                offset=shard.offset,
                size_bytes=shard.size_bytes,
                items=shard.items,
                first_shard=base,
                domain=shard.domain,
            )
            base += -(-shard.items // self._config.output.shard_items)
            if shard.list_name != list_name:
                continue
            left = last.get(shard.number)
            if left is not None and left.due:
                part = _rest_of(self._ledger.manifest(left), part)
            row = known.get(part.place)
            if (left is None or left.due) and (row is None or row.state == WAITING):
                parts.append(replace(part, tries=row.tries if row else 0))
        for part in sorted(parts, key=lambda one: one.domain is None):
            self._queue.add(self._amended(part))

    def _turn(self, engine: DaskEngine) -> None:
        if self._over_at is not None and self._clock() > self._over_at and not self._stops:
            self.is_over = True
            self._note("max_duration reached: nothing more is handed out; the same command continues")
            self.stop()
        if self._stops and self._stop_by is None:
            engine.stop_parts(self._run)
            self._stop_by = self._clock() + self._config.job.grace + AT_THE_END_SECONDS
        self._probe_workers(engine)
        while self._queue and not self._stops and len(self._out) < self._room():
            part = self._queue.take()
            self._out[part.place] = part  # first: when the engine gets lost over it, it is handed out again
            engine.submit(self._task(part), part.avoid)
        for ended in engine.wait(TICK_SECONDS):
            self._last_word = self._clock()
            self._put_down(ended)

    def _probe_workers(self, engine: DaskEngine) -> None:
        """Who is there, now and then. Raises `ExecutorError` when nobody was for too long."""
        now = self._clock()
        if now - self._probed < TICK_SECONDS and self._slots:
            return
        self._probed = now
        slots = dict(engine.slots())
        if slots != self._slots:
            self._slots, self._slots_of_machines = slots, Counter()
            for address, number in slots.items():
                self._slots_of_machines[machine_of(address)] += number
        if self._slots:
            self._last_word = now
            self._ask_strangers(engine, now)
        elif now - self._last_word > WORKERLESS_SECONDS:
            raise ExecutorError(
                f"no worker has come to the scheduler for {WORKERLESS_SECONDS:.0f} s; start some (dask worker), "
                "and the same command continues"
            )

    def _ask_strangers(self, engine: DaskEngine, now: float) -> None:
        """Has workers asked that were not there before; one that is silent later again."""
        strangers = [one for one in self._slots.keys() - self._known if now >= self._silent_until.get(one, now)]
        if strangers:
            self._known.update(self._joined(engine, sorted(strangers)))
            self._silent_until |= dict.fromkeys(set(strangers) - self._known, now + SILENT_SECONDS)

    def _room(self) -> int:
        return max(1, self._table.window * sum(self._slots.values()))

    def _task(self, part: PendingPart) -> PartTask:
        return PartTask(
            config=self._config,
            run=self._run,
            store=self._store,
            plan=self._plan.name,
            columns=self._plan.columns,
            names=self._plan.names,
            part=part,
            seconds=self._table.shard_timeout,
            slots=self._slots_of_machines,
        )

    def _put_down(self, ended: PartOutcome) -> None:
        part = self._out.pop(ended.place, None)
        if part is None:
            return
        self._queue.put_down(part)
        if ended.manifest is not None:
            self._commit(part, ended.manifest)
        elif not ended.is_charged:
            self._queue.add(part)
        else:
            self._charge(part, ended)

    def _commit(self, part: PendingPart, manifest: PartManifest) -> None:
        self._ledger.commit(manifest)
        self._committed(manifest)
        if manifest.pending:
            self._note(f"part {part.number}: {manifest.pending:,} items are left for a part of their own")
            self._queue.add(_rest_of(manifest, part))

    def _charge(self, part: PendingPart, ended: PartOutcome) -> None:
        tries = part.tries + 1
        state = QUARANTINED if tries >= self._table.tries else WAITING
        self._ledger.fail(*part.place, ended.worker, ended.reason, tries=tries, state=state)
        what = f"in quarantine after {tries} tries" if state == QUARANTINED else "handed out again"
        self._note(f"part {part.number}: {what}: {ended.reason.splitlines()[-1] if ended.reason else ''}")
        if state == WAITING:
            self._queue.add(replace(part, tries=tries, avoid=part.avoid | {ended.worker}))

    def _find_again(self, error: LostEngineError) -> None:
        """Another connection to the scheduler; what was out is handed out again, and found committed if it is.

        Raises `ExecutorError` when there is none for too long.
        """
        self._note(f"{error}; trying to find it again for {RECONNECT_SECONDS:.0f} s")
        self.close()
        self.engine = None
        limit = self._clock() + RECONNECT_SECONDS
        while self.engine is None:
            try:
                self.open()
            except UsageError:
                if self._stops or self._clock() > limit:
                    raise ExecutorError(f"{error}, and it did not come back; the same command continues") from error
                self._sleep(BETWEEN_TRIES_SECONDS)
        parts, self._out = list(self._out.values()), {}
        for part in parts:
            self._queue.put_down(part)
            self._queue.add(part)
        self._last_word = self._clock()


def _rest_of(manifest: PartManifest, part: PendingPart) -> PendingPart:
    """What a part left, as a part of its own."""
    return replace(
        part,
        generation=manifest.generation + 1,
        list_name=manifest.rest,
        offset=0,
        size_bytes=manifest.rest_bytes,
        items=manifest.due,
        tries=0,
        avoid=frozenset(),
    )
