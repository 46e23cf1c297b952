"""The textbook's thirteen statements: the figures that decide, the verdict, and one sentence for the job."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from batchproc.explain.phi import HELD_STEPS
from batchproc.explain.words import quantity, seconds, size
from batchproc.lab.evidence import PAYS, Evidence, Job, NotMeasured, beyond, words
from batchproc.lab.experiments.cpu import BLUR, LOOP, MEDIAN
from batchproc.lab.results import Judged, Number, Verdict

STEPS = (BLUR, MEDIAN, LOOP)
WAITS_MS = (20.0, 100.0)
PICTURE_BYTES, LARGE_BYTES = 155_000.0, 8_000_000.0
MOST_WAITED = 0.15  # of the workers' time without a free core; more, and a missing gain proves nothing
FREE_SHARE = 0.1  # handing over 8 MB is free when it costs less than a tenth of sending it

Finding: TypeAlias = tuple[Verdict, str]  # and what it means for the job, in one sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement, the experiments it needs, and how it is judged."""

    id: int
    statement: str
    needs: tuple[str, ...]
    find: Callable[[Evidence, Job], Finding]


def judge(claim: Claim, evidence: Evidence, job: Job) -> Judged:
    """What the measurement says to a claim; `evidence` has to be fresh."""
    try:
        verdict, meaning = claim.find(evidence, job)
    except NotMeasured as error:
        verdict, meaning = Verdict.NOT_MEASURED, str(error)
    return Judged(
        id=claim.id,
        statement=claim.statement,
        verdict=verdict,
        meaning=meaning,
        numbers=tuple(evidence.used),
        needs=claim.needs,
    )


def parallelism_buys_back(evidence: Evidence, job: Job) -> Finding:
    """1: against C on the same pixels, and against one worker that waits."""
    slow = evidence.need("python_alone", "gain", "Pillow")
    computing = evidence.need("steps", "processes gain", LOOP)
    _need_quiet(evidence, LOOP)
    waiting = _waiting_gain(evidence, 100.0)
    gains = beyond(computing, PAYS, f"{LOOP} in processes"), beyond(waiting, PAYS, "waiting in 8 threads")
    meaning = (
        f"a loop over pixels in Python takes {words(slow)} as long as Pillow's C, and {job.cores} processes make it "
        f"{words(computing)} as fast; waits of 100 ms become {words(waiting)} as fast in 8 threads: write steps with "
        "Pillow first, then add workers"
    )
    if not any(gains):
        return Verdict.REFUTED, meaning
    bought_all = all(gains) and computing.value >= slow.value
    return Verdict.HOLDS if bought_all else Verdict.HERE_NOT_THERE, meaning


def threads_pay_for_waits(evidence: Evidence, job: Job) -> Finding:
    """2: eight threads against one worker, where each reply takes its time."""
    gains = {wait: _waiting_gain(evidence, wait) for wait in WAITS_MS}
    pays = [beyond(number, PAYS, f"8 threads at {wait:g} ms") for wait, number in gains.items()]
    none = evidence.find("latency", "gain at 0 ms", 8.0)
    listed = ", ".join(f"{words(number)} at {wait:g} ms" for wait, number in gains.items())
    without = f", without a wait {words(none)}" if none else ""
    workers = "" if job.download_mode == "serial" else f" with {job.download_workers} workers"
    meaning = f"the speed of 8 threads against one worker: {listed}{without}; "
    return _all_some_none(pays), f"{meaning}this job downloads in {job.download_mode} mode{workers}"


def threads_do_not_pay_for_cpu(evidence: Evidence, job: Job) -> Finding:
    """3: only where processes do gain, so that cores were free, can threads be blamed for not gaining."""
    _need_cores(evidence, "steps")
    gains, found, open_ = {}, {}, []
    for step in STEPS:
        gains[step] = evidence.need("steps", "threads gain", step)
        try:
            _need_quiet(evidence, step)
            pays = beyond(gains[step], PAYS, f"{step} in threads")
            if not pays and not _processes_gain(evidence, step):
                raise NotMeasured(f"{step}: processes gained nothing either, so threads cannot be blamed")
            found[step] = not pays
        except NotMeasured as error:
            open_.append(str(error))
    if open_ and len(set(found.values())) < 2:
        raise NotMeasured("; ".join(open_))
    listed = ", ".join(f"{step} {words(gains[step])}" for step in found)
    holding = [step for step in job.steps if step in HELD_STEPS or ":" in step]
    steps = f"here {', '.join(holding)} may hold it" if holding else "no step of this job is known to hold it"
    meaning = f"the speed of threads against serial: {listed}; it depends on whether a step releases the GIL"
    return _all_some_none(list(found.values())), f"{meaning}, and {steps}"


def processes_are_parallel(evidence: Evidence, job: Job) -> Finding:
    """4: every kind of step, in as many processes as cores."""
    _need_cores(evidence, "steps")
    gains = {step: evidence.need("steps", "processes gain", step) for step in STEPS}
    pays = [_processes_gain(evidence, step) for step in STEPS]
    listed = ", ".join(f"{step} {words(number)}" for step, number in gains.items())
    meaning = f"the speed of {job.cores} processes against serial: {listed}; it does not depend on who holds the GIL"
    return _all_some_none(pays), meaning


def each_process_has_its_gil(evidence: Evidence, _job: Job) -> Finding:
    """5: the cores that two spinning workers keep busy."""
    _need_cores(evidence, "own_gil")
    threads, processes = (evidence.need("own_gil", "busy", f"two {kind}") for kind in ("threads", "processes"))
    if beyond(threads, PAYS, "two spinning threads"):
        raise NotMeasured(f"two threads keep {words(threads)} busy: this build shows no GIL at all")
    if not beyond(processes, PAYS, "two spinning processes"):
        raise NotMeasured(f"two processes got {words(processes)} only: no second core was free")
    meaning = (
        f"two threads spinning in Python keep {words(threads)} busy, two processes {words(processes)}: a step that "
        "holds the GIL scales by processes alone"
    )
    return Verdict.HOLDS, meaning


def each_process_has_its_memory(evidence: Evidence, _job: Job) -> Finding:
    """6: changes made in a child, seen in the parent."""
    made, seen = (evidence.need("own_memory", what, "processes") for what in ("made", "seen by the parent"))
    shared = evidence.need("own_memory", "seen by the parent", "threads")
    meaning = (
        f"of {made.value:.0f} changes made in processes the parent sees {seen.value:.0f}, of as many made in threads "
        f"{shared.value:.0f}: a step of your own cannot count or collect in a global, it must return or write"
    )
    return Verdict.REFUTED if seen.value else Verdict.HOLDS, meaning


def processes_weigh_more(evidence: Evidence, _job: Job) -> Finding:
    """7: proportional set size per further worker."""
    threads, processes = (evidence.need("memory", "one more weighs (PSS)", each) for each in ("a thread", "a process"))
    meaning = (
        f"each further process weighs {size(processes.value)}, each further thread {size(threads.value)}: 8 more "
        f"workers cost {size(8 * processes.value)} or {size(8 * threads.value)}"
    )
    return _apart(processes, threads), meaning


def pipes_cost(evidence: Evidence, _job: Job) -> Finding:
    """8: an echo through the pipe against an echo between threads."""
    pipe, large = (evidence.need("payload", "no work, processes", x) for x in (PICTURE_BYTES, LARGE_BYTES))
    queue = evidence.need("payload", "no work, threads", PICTURE_BYTES)
    step = evidence.need("payload", "work, threads", 0.0)
    verdict = _apart(pipe, queue)
    meaning = (
        f"a picture of 155 KB costs {words(pipe)} through the pipe and {words(queue)} between threads, 8 MB "
        f"{words(large)}; a step of {words(step)} that holds the GIL {_repays(evidence)}"
    )
    return verdict, meaning


def threads_start_faster(evidence: Evidence, _job: Job) -> Finding:
    """9: seconds until a worker is ready."""
    ratio = evidence.need("startup", "threads gain", "a thread")
    places = ("a thread", "a process", "the first process")
    threads, processes, cold = (evidence.need("startup", "ready after", each) for each in places)
    found = [beyond(ratio, PAYS, "starting threads"), *_lighter(evidence)]
    meaning = (
        f"a thread is ready after {words(threads)}, a process after {words(processes)}, the very first one after "
        f"{words(cold)}: this matters to jobs that last a second, not to longer ones"
    )
    return _all_some_none(found), meaning


def threads_share(evidence: Evidence, _job: Job) -> Finding:
    """10: two statements, so it may hold by half."""
    extra = {kind: _extra_seconds(evidence, kind) for kind in ("threads", "processes")}
    free = extra["threads"] < FREE_SHARE * extra["processes"]
    plain, slow, locked, queued = (evidence.need("lost_updates", "worst round", way) for way in (
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


def a_process_can_be_killed(evidence: Evidence, job: Job) -> Finding:
    """11: an item that never ends."""
    killed, recovery = (evidence.need("hang", what, "process") for what in ("killed at the deadline", "through after"))
    done, blocked = (evidence.need("hang", "done", mode) for mode in ("process", "serial"))
    thread, serial = (evidence.need("hang", "still hanging after", mode) for mode in ("thread", "serial"))
    items, deadline = (evidence.need_fact("hang", name) for name in ("items", "deadline_seconds"))
    recovers = bool(killed.value) and done.value == items.value - 1
    meaning = (
        f"with a deadline of {seconds(deadline.value)} processes were through after {words(recovery)} at the price of "
        f"one item; a thread still hung after {words(thread)}, and serial stood still after {blocked.value:.0f} of "
        f"{items.value:.0f} items: [transform] timeout needs processes, and this job transforms in "
        f"{job.transform_mode} mode"
    )
    return _all_some_none([recovers, thread.value > 0 and serial.value > 0]), meaning


def a_crash_takes_one_item(evidence: Evidence, _job: Job) -> Finding:
    """12: os._exit in the middle of a step."""
    process, thread = (evidence.need("crash", "lost", mode) for mode in ("process", "thread"))
    took, clean = (evidence.need("crash", f"a run {how}", "process") for how in ("with a crash", "without"))
    items = evidence.need_fact("crash", "items")
    meaning = (
        f"a crash took {process.value:.0f} of {items.value:.0f} items in processes (a run of {words(took)} in place of "
        f"{words(clean)}) and {thread.value:.0f} in threads, with the whole run: take processes for pictures that you "
        "do not trust"
    )
    return _all_some_none([max(process.values) == 1, min(thread.values) > 1]), meaning


def queues_remove_locks(evidence: Evidence, _job: Job) -> Finding:
    """13: the same updates through a queue, and many items through the thread executor."""
    without, queued = (evidence.need("lost_updates", "worst round", way) for way in (
        "read, yield, write", "through a queue"
    ))  # fmt: skip
    handed, missing, twice = (evidence.need("through_queue", "through the thread executor", what) for what in (
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
    return Verdict.HOLDS if whole else Verdict.REFUTED, meaning


def _all_some_none(held: Sequence[bool]) -> Verdict:
    if all(held):
        return Verdict.HOLDS
    return Verdict.HERE_NOT_THERE if any(held) else Verdict.REFUTED


def _apart(more: Number, less: Number) -> Verdict:
    """Whether `more` is the larger one, both intervals apart. Raises `NotMeasured` when they overlap or are missing."""
    for number in (more, less):
        if number.low is None or number.high is None:
            raise NotMeasured(f"{number.name}: {len(number.values)} rounds are too few to tell")
    if (more.low or 0.0) > (less.high or 0.0):
        return Verdict.HOLDS
    if (more.high or 0.0) < (less.low or 0.0):
        return Verdict.REFUTED
    raise NotMeasured(f"{words(more)} against {words(less)}: their intervals overlap")


def _need_cores(evidence: Evidence, experiment: str) -> None:
    if evidence.need_fact(experiment, "cores").value < 2:
        raise NotMeasured("one usable core: nothing can run side by side")


def _waiting_gain(evidence: Evidence, wait_ms: float) -> Number:
    return evidence.need("latency", f"gain at {wait_ms:g} ms", 8.0)


def _extra_seconds(evidence: Evidence, kind: str) -> float:
    """What 8 MB cost beyond an empty message."""
    large, empty = (evidence.need("payload", f"no work, {kind}", x) for x in (LARGE_BYTES, 0.0))
    return large.value - empty.value


def _processes_gain(evidence: Evidence, step: str) -> bool:
    """Whether processes pay on a step. Raises `NotMeasured` when they do not, but found no free core either."""
    _need_quiet(evidence, step)
    if beyond(evidence.need("steps", "processes gain", step), PAYS, f"{step} in processes"):
        return True
    waited = evidence.find("steps", "processes, waiting for a core", step)
    if waited is None:
        raise NotMeasured(f"{step}: processes gained nothing, and whether cores were free is not known here")
    if waited.value > MOST_WAITED:
        raise NotMeasured(f"{step}: processes waited {words(waited)} of their time for a core: the machine was busy")
    return False


def _need_quiet(evidence: Evidence, step: str) -> None:
    """On a busy machine several workers get more of it than one does: that is no gain of theirs."""
    waited = evidence.find("steps", "serial, waiting for a core", step)
    if waited is not None and waited.value > MOST_WAITED:
        raise NotMeasured(f"{step}: even one worker waited {words(waited)} of its time for a core")


def _lighter(evidence: Evidence) -> list[bool]:
    """Whether a thread weighs less; nothing where the system does not tell."""
    found = [evidence.find("memory", "one more weighs (PSS)", each) for each in ("a process", "a thread")]
    processes, threads = found
    return [] if threads is None or processes is None else [_apart(processes, threads) is Verdict.HOLDS]


def _repays(evidence: Evidence) -> str:
    """Up to which payload processes pay on a step that holds the GIL, as the end of a sentence."""
    gained = evidence.need("payload", "processes gain", PICTURE_BYTES)
    crossings = evidence.tables["payload"].crossings
    if gained.low is not None and gained.low > 1:
        places = [x for each in crossings for x in each.measured]
        return f"repays it up to {quantity(places[0], 'bytes')}" if places else f"repays it even at {size(LARGE_BYTES)}"
    if gained.high is not None and gained.high < 1:
        return "does not repay it"
    return "may or may not repay it: the machine was not quiet enough to tell"


def _claim(number: int, statement: str, needs: str, find: Callable[[Evidence, Job], Finding]) -> Claim:
    return Claim(id=number, statement=statement, needs=tuple(needs.split()), find=find)


CLAIMS = (
    _claim(1, "Python alone is slow; parallelism buys it back.", "python_alone steps latency", parallelism_buys_back),
    _claim(2, "Threads pay for I/O-bound work.", "latency", threads_pay_for_waits),
    _claim(3, "Threads do not pay for CPU-bound work.", "steps", threads_do_not_pay_for_cpu),
    _claim(4, "Processes give true parallelism on several cores.", "steps", processes_are_parallel),
    _claim(5, "Each process has its own GIL.", "own_gil", each_process_has_its_gil),
    _claim(6, "Each process has its own memory: a change in a child is not seen by the parent.", "own_memory",
           each_process_has_its_memory),
    _claim(7, "Processes cost more memory.", "memory", processes_weigh_more),
    _claim(8, "Inter-process communication has a cost.", "payload", pipes_cost),
    _claim(9, "Threads start faster and are lighter.", "startup memory", threads_start_faster),
    _claim(10, "Threads share memory: handing over is free, and unsynchronised updates lose writes.",
           "payload lost_updates", threads_share),
    _claim(11, "A process can be killed, a thread cannot.", "hang", a_process_can_be_killed),
    _claim(12, "A dead process takes one item with it; a crash in a thread takes the run.", "crash",
           a_crash_takes_one_item),
    _claim(13, "A queue between producers and consumers removes the need for manual locks.",
           "lost_updates through_queue", queues_remove_locks),
)  # fmt: skip
