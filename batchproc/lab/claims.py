"""The textbook's thirteen statements: the figures that decide, the verdict, and one sentence for the job.

A figure that is missing or uncertain is named, never guessed.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from batchproc.explain.words import quantity, seconds, significant, size
from batchproc.lab.experiments import BLUR, LOOP, MEDIAN
from batchproc.lab.results import ClaimVerdict, Judged, Measurements, NotMeasured, Number

PAYS = 1.1  # less than a tenth gained is not worth a thread's trouble
STEPS = (BLUR, MEDIAN, LOOP)
WAITS_MS = (20.0, 100.0)
IMAGE_BYTES, LARGE_BYTES = 155_000.0, 8_000_000.0
MOST_WAITED = 0.15  # of the workers' time without a free core; more, and a missing gain proves nothing
FREE_SHARE = 0.1  # handing over 8 MB is free when it costs less than a tenth of sending it


class ClaimJob(Struct, frozen=True, kw_only=True):
    """What a claim's meaning is worded for: the job's modes, its steps that may hold the GIL, the cores."""

    download_mode: str
    download_workers: int
    transform_mode: str
    holding_steps: tuple[str, ...]
    cores: int


Finding: TypeAlias = tuple[ClaimVerdict, str]  # and what it means for the job, in one sentence
Finder: TypeAlias = Callable[[Measurements, ClaimJob], Finding]


class Claim(Struct, frozen=True, kw_only=True):
    """One statement, the experiments it needs, and how it is judged."""

    id: int
    statement: str
    needs: tuple[str, ...]
    find: Finder


CLAIMS: list[Claim] = []  # in their order, by the decorator of each


def _claim(number: int, statement: str, *needs: str) -> Callable[[Finder], Finder]:
    def register(find: Finder) -> Finder:
        CLAIMS.append(Claim(id=number, statement=statement, needs=needs, find=find))
        return find

    return register


def judge(claim: Claim, measured: Measurements, job: ClaimJob) -> Judged:
    """What the measurement says to a claim; `measured` has to be fresh."""
    try:
        verdict, meaning = claim.find(measured, job)
    except NotMeasured as error:
        verdict, meaning = ClaimVerdict.NOT_MEASURED, str(error)
    return Judged(
        id=claim.id,
        statement=claim.statement,
        verdict=verdict,
        meaning=meaning,
        numbers=tuple(measured.used),
        needs=claim.needs,
    )


@_claim(1, "Python alone is slow; parallelism buys it back.", "python_alone", "steps", "latency")
def parallelism_buys_back(measured: Measurements, job: ClaimJob) -> Finding:
    """Against C on the same pixels, and against one worker that waits."""
    slow = measured.need("python_alone", "gain", "Pillow")
    computing = measured.need("steps", "processes gain", LOOP)
    _need_quiet(measured, LOOP)
    waiting = _waiting_gain(measured, 100.0)
    gains = beyond(computing, PAYS, f"{LOOP} in processes"), beyond(waiting, PAYS, "waiting in 8 threads")
    meaning = (
        f"a loop over pixels in Python takes {words(slow)} as long as Pillow's C, and {job.cores} processes make it "
        f"{words(computing)} as fast; waits of 100 ms become {words(waiting)} as fast in 8 threads: write steps with "
        "Pillow first, then add workers"
    )
    if not any(gains):
        return ClaimVerdict.REFUTED, meaning
    bought_all = all(gains) and computing.value >= slow.value
    return ClaimVerdict.HOLDS if bought_all else ClaimVerdict.HERE_NOT_THERE, meaning


@_claim(2, "Threads pay for I/O-bound work.", "latency")
def threads_pay_for_waits(measured: Measurements, job: ClaimJob) -> Finding:
    """Eight threads against one worker, where each reply takes its time."""
    gains = {wait: _waiting_gain(measured, wait) for wait in WAITS_MS}
    pays = [beyond(number, PAYS, f"8 threads at {wait:g} ms") for wait, number in gains.items()]
    none = measured.find("latency", "gain at 0 ms", 8.0)
    listed = ", ".join(f"{words(number)} at {wait:g} ms" for wait, number in gains.items())
    without = f", without a wait {words(none)}" if none else ""
    workers = "" if job.download_mode == "serial" else f" with {job.download_workers} workers"
    meaning = f"the speed of 8 threads against one worker: {listed}{without}; "
    return _all_some_none(pays), f"{meaning}this job downloads in {job.download_mode} mode{workers}"


@_claim(3, "Threads do not pay for CPU-bound work.", "steps")
def threads_do_not_pay_for_cpu(measured: Measurements, job: ClaimJob) -> Finding:
    """Only where processes do gain, so that cores were free, can threads be blamed for not gaining."""
    _need_cores(measured, "steps")
    gains, found, open_ = {}, {}, []
    for step in STEPS:
        gains[step] = measured.need("steps", "threads gain", step)
        try:
            _need_quiet(measured, step)
            pays = beyond(gains[step], PAYS, f"{step} in threads")
            if not pays and not _processes_gain(measured, step):
                raise NotMeasured(f"{step}: processes gained nothing either, so threads cannot be blamed")
            found[step] = not pays
        except NotMeasured as error:
            open_.append(str(error))
    if open_ and len(set(found.values())) < 2:
        raise NotMeasured("; ".join(open_))
    listed = ", ".join(f"{step} {words(gains[step])}" for step in found)
    holding = ", ".join(job.holding_steps)
    steps = f"here {holding} may hold it" if holding else "no step of this job is known to hold it"
    meaning = f"the speed of threads against serial: {listed}; it depends on whether a step releases the GIL"
    return _all_some_none(list(found.values())), f"{meaning}, and {steps}"


@_claim(4, "Processes give true parallelism on several cores.", "steps")
def processes_are_parallel(measured: Measurements, job: ClaimJob) -> Finding:
    """Every kind of step, in as many processes as cores."""
    _need_cores(measured, "steps")
    gains = {step: measured.need("steps", "processes gain", step) for step in STEPS}
    pays = [_processes_gain(measured, step) for step in STEPS]
    listed = ", ".join(f"{step} {words(number)}" for step, number in gains.items())
    meaning = f"the speed of {job.cores} processes against serial: {listed}; it does not depend on who holds the GIL"
    return _all_some_none(pays), meaning


@_claim(5, "Each process has its own GIL.", "own_gil")
def each_process_has_its_gil(measured: Measurements, _job: ClaimJob) -> Finding:
    """The cores that two spinning workers keep busy."""
    _need_cores(measured, "own_gil")
    threads, processes = (measured.need("own_gil", "busy", f"two {kind}") for kind in ("threads", "processes"))
    if beyond(threads, PAYS, "two spinning threads"):
        raise NotMeasured(f"two threads keep {words(threads)} busy: this build shows no GIL at all")
    if not beyond(processes, PAYS, "two spinning processes"):
        raise NotMeasured(f"two processes got {words(processes)} only: no second core was free")
    meaning = (
        f"two threads spinning in Python keep {words(threads)} busy, two processes {words(processes)}: a step that "
        "holds the GIL scales by processes alone"
    )
    return ClaimVerdict.HOLDS, meaning


@_claim(6, "Each process has its own memory: a change in a child is not seen by the parent.", "own_memory")
def each_process_has_its_memory(measured: Measurements, _job: ClaimJob) -> Finding:
    """Changes made in a child, seen in the parent."""
    made, seen = (measured.need("own_memory", what, "processes") for what in ("made", "seen by the parent"))
    shared = measured.need("own_memory", "seen by the parent", "threads")
    meaning = (
        f"of {made.value:.0f} changes made in processes the parent sees {seen.value:.0f}, of as many made in threads "
        f"{shared.value:.0f}: a step of your own cannot count or collect in a global, it must return or write"
    )
    return ClaimVerdict.REFUTED if seen.value else ClaimVerdict.HOLDS, meaning


@_claim(7, "Processes cost more memory.", "memory")
def processes_weigh_more(measured: Measurements, _job: ClaimJob) -> Finding:
    """Proportional set size per further worker."""
    threads, processes = (measured.need("memory", "one more weighs (PSS)", each) for each in ("a thread", "a process"))
    meaning = (
        f"each further process weighs {size(processes.value)}, each further thread {size(threads.value)}: 8 more "
        f"workers cost {size(8 * processes.value)} or {size(8 * threads.value)}"
    )
    return _apart(processes, threads), meaning


@_claim(8, "Inter-process communication has a cost.", "payload")
def pipes_cost(measured: Measurements, _job: ClaimJob) -> Finding:
    """An echo through the pipe against an echo between threads."""
    pipe, large = (measured.need("payload", "no work, processes", x) for x in (IMAGE_BYTES, LARGE_BYTES))
    queue = measured.need("payload", "no work, threads", IMAGE_BYTES)
    step = measured.need("payload", "work, threads", 0.0)
    verdict = _apart(pipe, queue)
    meaning = (
        f"an image of 155 KB costs {words(pipe)} through the pipe and {words(queue)} between threads, 8 MB "
        f"{words(large)}; a step of {words(step)} that holds the GIL {_repays(measured)}"
    )
    return verdict, meaning


@_claim(9, "Threads start faster and are lighter.", "startup", "memory")
def threads_start_faster(measured: Measurements, _job: ClaimJob) -> Finding:
    """Seconds until a worker is ready."""
    ratio = measured.need("startup", "threads gain", "a thread")
    places = ("a thread", "a process", "the first process")
    threads, processes, cold = (measured.need("startup", "ready after", each) for each in places)
    found = [beyond(ratio, PAYS, "starting threads"), *_lighter(measured)]
    meaning = (
        f"a thread is ready after {words(threads)}, a process after {words(processes)}, the very first one after "
        f"{words(cold)}: this matters to jobs that last a second, not to longer ones"
    )
    return _all_some_none(found), meaning


@_claim(
    10,
    "Threads share memory: handing over is free, and unsynchronised updates lose writes.",
    "payload", "lost_updates",
)
def threads_share(measured: Measurements, _job: ClaimJob) -> Finding:
    """Two statements, so it may hold by half."""
    extra = {kind: _extra_seconds(measured, kind) for kind in ("threads", "processes")}
    free = extra["threads"] < FREE_SHARE * extra["processes"]
    plain, slow, locked, queued = (measured.need("lost_updates", "worst round", way) for way in (
        "x += 1", "read, yield, write", "with a lock", "through a queue"
    ))  # fmt: skip
    if locked.value or queued.value:
        raise NotMeasured("updates were lost under a lock or a queue as well: the experiment itself is wrong")
    shows = "" if plain.value else " (on this build a plain x += 1 lost none, which the language does not promise)"
    meaning = (
        f"8 MB more cost {seconds(max(0.0, extra['threads']))} between threads and {seconds(extra['processes'])} "
        f"through a pipe; without a lock x += 1 lost {words(plain)} and read, yield, write {words(slow)} of its "
        f"updates, with a lock or a queue none{shows}"
    )
    return _all_some_none([free, slow.value > 0, plain.value > 0]), meaning


@_claim(11, "A process can be killed, a thread cannot.", "hang")
def a_process_can_be_killed(measured: Measurements, job: ClaimJob) -> Finding:
    """An item that never ends."""
    killed, recovery = (measured.need("hang", what, "process") for what in ("killed at the deadline", "through after"))
    done, blocked = (measured.need("hang", "done", mode) for mode in ("process", "serial"))
    thread, serial = (measured.need("hang", "still hanging after", mode) for mode in ("thread", "serial"))
    items, deadline = (measured.need_fact("hang", name) for name in ("items", "deadline_seconds"))
    recovers = bool(killed.value) and done.value == items.value - 1
    meaning = (
        f"with a deadline of {seconds(deadline.value)} processes were through after {words(recovery)} at the price of "
        f"one item; a thread still hung after {words(thread)}, and serial stood still after {blocked.value:.0f} of "
        f"{items.value:.0f} items: [transform] timeout needs processes, and this job transforms in "
        f"{job.transform_mode} mode"
    )
    return _all_some_none([recovers, thread.value > 0 and serial.value > 0]), meaning


@_claim(12, "A dead process takes one item with it; a crash in a thread takes the run.", "crash")
def a_crash_takes_one_item(measured: Measurements, _job: ClaimJob) -> Finding:
    """Os._exit in the middle of a step."""
    process, thread = (measured.need("crash", "lost", mode) for mode in ("process", "thread"))
    took, clean = (measured.need("crash", f"a run {how}", "process") for how in ("with a crash", "without"))
    items = measured.need_fact("crash", "items")
    meaning = (
        f"a crash took {process.value:.0f} of {items.value:.0f} items in processes (a run of {words(took)} in place of "
        f"{words(clean)}) and {thread.value:.0f} in threads, with the whole run: take processes for images that you "
        "do not trust"
    )
    return _all_some_none([max(process.values) == 1, min(thread.values) > 1]), meaning


@_claim(
    13,
    "A queue between producers and consumers removes the need for manual locks.",
    "lost_updates", "through_queue",
)
def queues_remove_locks(measured: Measurements, _job: ClaimJob) -> Finding:
    """The same updates through a queue, and many items through the thread executor."""
    without, queued = (measured.need("lost_updates", "worst round", way) for way in (
        "read, yield, write", "through a queue"
    ))  # fmt: skip
    handed, missing, twice = (measured.need("through_queue", "through the thread executor", what) for what in (
        "handed over", "missing", "twice"
    ))  # fmt: skip
    if not without.value:
        raise NotMeasured("nothing was lost without a queue either, so there was nothing for it to prevent")
    whole = not (queued.value or missing.value or twice.value)
    meaning = (
        f"updates lost without a lock: {words(without)}, through a queue: {words(queued)}; of {handed.value:,.0f} "
        f"items {missing.value:.0f} went missing in the thread executor: steps need no lock as long as they share "
        "nothing else"
    )
    return ClaimVerdict.HOLDS if whole else ClaimVerdict.REFUTED, meaning


def _all_some_none(held: Sequence[bool]) -> ClaimVerdict:
    if all(held):
        return ClaimVerdict.HOLDS
    return ClaimVerdict.HERE_NOT_THERE if any(held) else ClaimVerdict.REFUTED


def _apart(more: Number, less: Number) -> ClaimVerdict:
    """Whether `more` is the larger one, both intervals apart. Raises `NotMeasured` when they overlap or are missing."""
    (more_low, more_high), (less_low, less_high) = (_interval(number, number.name) for number in (more, less))
    if more_low > less_high:
        return ClaimVerdict.HOLDS
    if more_high < less_low:
        return ClaimVerdict.REFUTED
    raise NotMeasured(f"{words(more)} against {words(less)}: their intervals overlap")


def _interval(number: Number, what: str) -> tuple[float, float]:
    """Raises `NotMeasured` where there is none."""
    if number.low is None or number.high is None:
        raise NotMeasured(f"{what}: {len(number.values)} rounds are too few to tell")
    return number.low, number.high


def _need_cores(measured: Measurements, experiment: str) -> None:
    if measured.need_fact(experiment, "cores").value < 2:
        raise NotMeasured("one usable core: nothing can run side by side")


def _waiting_gain(measured: Measurements, wait_ms: float) -> Number:
    return measured.need("latency", f"gain at {wait_ms:g} ms", 8.0)


def _extra_seconds(measured: Measurements, kind: str) -> float:
    """What 8 MB cost beyond an empty message."""
    large, empty = (measured.need("payload", f"no work, {kind}", x) for x in (LARGE_BYTES, 0.0))
    return large.value - empty.value


def _processes_gain(measured: Measurements, step: str) -> bool:
    """Whether processes pay on a step. Raises `NotMeasured` when they do not, but found no free core either."""
    _need_quiet(measured, step)
    if beyond(measured.need("steps", "processes gain", step), PAYS, f"{step} in processes"):
        return True
    waited = measured.find("steps", "processes, waiting for a core", step)
    if waited is None:
        raise NotMeasured(f"{step}: processes gained nothing, and whether cores were free is not known here")
    if waited.value > MOST_WAITED:
        raise NotMeasured(f"{step}: processes waited {words(waited)} of their time for a core: the machine was busy")
    return False


def _need_quiet(measured: Measurements, step: str) -> None:
    """On a busy machine several workers get more of it than one does: that is no gain of theirs."""
    waited = measured.find("steps", "serial, waiting for a core", step)
    if waited is not None and waited.value > MOST_WAITED:
        raise NotMeasured(f"{step}: even one worker waited {words(waited)} of its time for a core")


def _lighter(measured: Measurements) -> list[bool]:
    """Whether a thread weighs less; nothing where the system does not tell."""
    found = [measured.find("memory", "one more weighs (PSS)", each) for each in ("a process", "a thread")]
    processes, threads = found
    return [] if threads is None or processes is None else [_apart(processes, threads) is ClaimVerdict.HOLDS]


def _repays(measured: Measurements) -> str:
    """Up to which payload processes pay on a step that holds the GIL, as the end of a sentence."""
    gained = measured.need("payload", "processes gain", IMAGE_BYTES)
    crossings = measured.tables["payload"].crossings
    if gained.low is not None and gained.low > 1:
        places = [x for each in crossings for x in each.measured]
        return f"repays it up to {quantity(places[0], 'bytes')}" if places else f"repays it even at {size(LARGE_BYTES)}"
    if gained.high is not None and gained.high < 1:
        return "does not repay it"
    return "may or may not repay it: the machine was not quiet enough to tell"


def beyond(number: Number, limit: float, what: str) -> bool:
    """Whether the number is above the limit, its whole interval with it. Raises `NotMeasured` when that is open."""
    low, high = _interval(number, what)
    if low > limit:
        return True
    if high < limit:
        return False
    raise NotMeasured(
        f"{what}: {significant(low)} to {significant(high)} is too uncertain; the machine was not quiet enough"
    )


def words(number: Number) -> str:
    """A number as people read it; per what, the sentence around it says."""
    return quantity(number.value, number.unit.partition("/")[0])
