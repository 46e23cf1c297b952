"""How each claim is judged: the evidence that decides, the verdict, and one sentence on what it means for the job."""

from dataclasses import dataclass
from enum import StrEnum

from batchproc.bench.evidence import PAYS, Evidence, Job, NotMeasured, beyond, words
from batchproc.bench.experiments.number import Number
from batchproc.explain.words import significant, size

STEPS = {"blur": "GaussianBlur", "median": "MedianFilter", "python": "a loop in Python"}
HOLDING_STEPS = frozenset(("median", "brightness", "contrast", "colour"))  # Pillow keeps the GIL in these
WAITS_MS = (20.0, 100.0)
PICTURE_BYTES, LARGE_BYTES = 155_000.0, 8_000_000.0
MOST_WAITED = 0.15  # of the workers' time without a free core; more, and a missing gain proves nothing
FREE_SHARE = 0.1  # handing over 8 MB is free when it costs less than a tenth of sending it


class Verdict(StrEnum):
    """What the measurement says to a statement."""

    HOLDS = "holds"
    HERE_NOT_THERE = "holds_here_not_there"
    REFUTED = "refuted"
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A verdict and what it means for the job, in one sentence."""

    verdict: Verdict
    meaning: str


def parallelism_buys_back(evidence: Evidence, job: Job) -> Finding:
    """1: against C on the same pixels, and against one worker that waits."""
    slow = evidence.need("python_alone", "pillow_gain")
    computing = evidence.need("steps", "python.processes_gain")
    _need_quiet(evidence, "python")
    waiting = evidence.need("latency", "threads_8_gain", 100.0)
    gained = beyond(computing, PAYS, "a loop in Python in processes"), beyond(waiting, PAYS, "waiting in 8 threads")
    meaning = (
        f"a loop over pixels in Python takes {words(slow)} as long as Pillow's C, and {job.cores} processes make it "
        f"{words(computing)} as fast; waits of 100 ms become {words(waiting)} as fast in 8 threads: write steps with "
        "Pillow first, then add workers"
    )
    if not any(gained):
        return Finding(verdict=Verdict.REFUTED, meaning=meaning)
    bought_all = all(gained) and computing.value >= slow.value
    return Finding(verdict=Verdict.HOLDS if bought_all else Verdict.HERE_NOT_THERE, meaning=meaning)


def threads_pay_for_waits(evidence: Evidence, job: Job) -> Finding:
    """2: eight threads against one worker, where each reply takes its time."""
    gains = [evidence.need("latency", "threads_8_gain", wait) for wait in WAITS_MS]
    pays = [beyond(number, PAYS, f"8 threads at {wait:g} ms") for number, wait in zip(gains, WAITS_MS, strict=True)]
    none = evidence.find("latency", "threads_8_gain", 0.0)
    told = ", ".join(f"{words(number)} at {wait:g} ms" for number, wait in zip(gains, WAITS_MS, strict=True))
    without = f", without a wait {words(none)}" if none else ""
    meaning = f"the speed of 8 threads against one worker: {told}{without}; this job downloads in {_crew(job)}"
    return Finding(verdict=_all_some_none(pays), meaning=meaning)


def threads_do_not_pay_for_cpu(evidence: Evidence, job: Job) -> Finding:
    """3: only where processes do gain, so that cores were free, can threads be blamed for not gaining."""
    _need_cores(evidence, "steps")
    gains, found, open_ = {}, {}, []
    for step, name in STEPS.items():
        gains[name] = evidence.need("steps", f"{step}.threads_gain")
        try:
            _need_quiet(evidence, step)
            found[name] = not beyond(gains[name], PAYS, f"{name} in threads")
            if found[name] and not _processes_gain(evidence, step):
                raise NotMeasured(f"{name}: processes gained nothing either, so threads cannot be blamed")
        except NotMeasured as error:
            found.pop(name, None)
            open_.append(str(error))
    if open_ and len(set(found.values())) < 2:
        raise NotMeasured("; ".join(open_))
    told = ", ".join(f"{name} {words(gains[name])}" for name in found)
    holding = [step for step in job.steps if step in HOLDING_STEPS or ":" in step]
    steps = f"here {', '.join(holding)} may hold it" if holding else "no step of this job is known to hold it"
    meaning = f"the speed of threads against serial: {told}; it depends on whether a step releases the GIL, and {steps}"
    return Finding(verdict=_all_some_none(list(found.values())), meaning=meaning)


def processes_are_parallel(evidence: Evidence, job: Job) -> Finding:
    """4: every kind of step, in as many processes as cores."""
    _need_cores(evidence, "steps")
    gains = {name: evidence.need("steps", f"{step}.processes_gain") for step, name in STEPS.items()}
    pays = [_processes_gain(evidence, step) for step in STEPS]
    told = ", ".join(f"{name} {words(number)}" for name, number in gains.items())
    meaning = f"the speed of {job.cores} processes against serial: {told}; it does not depend on who holds the GIL"
    return Finding(verdict=_all_some_none(pays), meaning=meaning)


def each_process_has_its_gil(evidence: Evidence, _job: Job) -> Finding:
    """5: the cores that two spinning workers keep busy."""
    _need_cores(evidence, "own_gil")
    threads, processes = (evidence.need("own_gil", f"two_{kind}_cores") for kind in ("threads", "processes"))
    if beyond(threads, PAYS, "two spinning threads"):
        raise NotMeasured(f"two threads keep {words(threads)} busy: this build shows no GIL at all")
    side_by_side = beyond(processes, PAYS, "two spinning processes")
    if not side_by_side:
        raise NotMeasured(f"two processes got {words(processes)} only: no second core was free")
    meaning = (
        f"two threads spinning in Python keep {words(threads)} busy, two processes {words(processes)}: a step that "
        "holds the GIL scales by processes alone"
    )
    return Finding(verdict=Verdict.HOLDS, meaning=meaning)


def each_process_has_its_memory(evidence: Evidence, _job: Job) -> Finding:
    """6: changes made in a child, seen in the parent."""
    made, seen = (evidence.need("own_memory", f"process_changes_{what}") for what in ("made", "seen"))
    shared = evidence.need("own_memory", "thread_changes_seen")
    meaning = (
        f"of {made.value:.0f} changes made in processes the parent sees {seen.value:.0f}, of as many made in threads "
        f"{shared.value:.0f}: a step of your own cannot count or collect in a global, it must return or write"
    )
    return Finding(verdict=Verdict.REFUTED if seen.value else Verdict.HOLDS, meaning=meaning)


def processes_weigh_more(evidence: Evidence, _job: Job) -> Finding:
    """7: proportional set size per further worker."""
    threads, processes = (evidence.need("memory", f"{kind}_pss_bytes") for kind in ("thread", "process"))
    _need_interval(threads, processes)
    meaning = (
        f"each further process weighs {size(processes.value)}, each further thread {size(threads.value)}: 8 more "
        f"workers cost {size(8 * processes.value)} or {size(8 * threads.value)}"
    )
    return Finding(verdict=_apart(processes, threads), meaning=meaning)


def pipes_cost(evidence: Evidence, _job: Job) -> Finding:
    """8: an echo through the pipe against an echo between threads."""
    pipe = evidence.need("payload", "echo_processes_seconds", PICTURE_BYTES)
    queue = evidence.need("payload", "echo_threads_seconds", PICTURE_BYTES)
    large = evidence.need("payload", "echo_processes_seconds", LARGE_BYTES)
    _need_interval(pipe, queue)
    step = evidence.need("payload", "work_threads_seconds", 0.0)
    meaning = (
        f"a picture of 155 KB costs {words(pipe)} through the pipe and {words(queue)} between threads, 8 MB "
        f"{words(large)}; a step of {words(step)} that holds the GIL {_repays(evidence)}"
    )
    return Finding(verdict=_apart(pipe, queue), meaning=meaning)


def threads_start_faster(evidence: Evidence, _job: Job) -> Finding:
    """9: seconds until a worker is ready."""
    ratio = evidence.need("startup", "threads_gain")
    threads, processes = (evidence.need("startup", f"{kind}_seconds") for kind in ("thread", "process"))
    cold = evidence.need("startup", "cold_process_seconds")
    found = [beyond(ratio, PAYS, "starting threads"), *_lighter(evidence)]
    meaning = (
        f"a thread is ready after {words(threads)}, a process after {words(processes)}, the very first one after "
        f"{words(cold)}: this matters to jobs that last a second, not to longer ones"
    )
    return Finding(verdict=_all_some_none(found), meaning=meaning)


def threads_share(evidence: Evidence, _job: Job) -> Finding:
    """10: two statements, so it may hold by half."""
    extra = {kind: _extra(evidence, kind) for kind in ("threads", "processes")}
    free = extra["threads"] < FREE_SHARE * extra["processes"]
    plain = evidence.need("lost_updates", "plain_worst")
    slow = evidence.need("lost_updates", "read_yield_write_worst")
    locked, queued = (evidence.need("lost_updates", f"with_{what}_worst") for what in ("lock", "queue"))
    if locked.value or queued.value:
        raise NotMeasured("updates were lost under a lock or a queue as well: the experiment itself is wrong")
    shows = "" if plain.value else " (on this build a plain x += 1 lost none, which the language does not promise)"
    meaning = (
        f"8 MB more cost {significant(1e6 * max(0.0, extra['threads']))} us between threads and "
        f"{significant(1e6 * extra['processes'])} us through a pipe; without a lock x += 1 lost {words(plain)} and "
        f"read, yield, write {words(slow)} of its updates, with a lock or a queue none{shows}"
    )
    return Finding(verdict=_all_some_none([free, slow.value > 0, plain.value > 0]), meaning=meaning)


def a_process_can_be_killed(evidence: Evidence, job: Job) -> Finding:
    """11: an item that never ends."""
    killed, done = (evidence.need("hang", f"process_{what}") for what in ("killed", "done"))
    items, recovery = evidence.need("hang", "items"), evidence.need("hang", "process_recovery_seconds")
    thread, serial = (evidence.need("hang", f"{kind}_hangs_after_seconds") for kind in ("thread", "serial"))
    blocked = evidence.need("hang", "serial_done")
    recovers = bool(killed.value) and done.value == items.value - 1
    meaning = (
        f"with a deadline of 0.3 s processes were through after {words(recovery)} at the price of one item; a thread "
        f"still hung after {words(thread)}, and serial stood still after {blocked.value:.0f} of {items.value:.0f} "
        f"items: [transform] timeout needs processes, and this job transforms in {job.transform_mode} mode"
    )
    hangs = thread.value > 0 and serial.value > 0
    return Finding(verdict=_all_some_none([recovers, hangs]), meaning=meaning)


def a_crash_takes_one_item(evidence: Evidence, _job: Job) -> Finding:
    """12: os._exit in the middle of a step."""
    lost = {kind: evidence.need("crash", f"{kind}_lost") for kind in ("process", "thread")}
    items, took = evidence.need("crash", "items"), evidence.need("crash", "process_run_seconds")
    clean = evidence.need("crash", "process_clean_run_seconds")
    meaning = (
        f"a crash took {lost['process'].value:.0f} of {items.value:.0f} items in processes (a run of "
        f"{words(took)} in place of {words(clean)}) and {lost['thread'].value:.0f} in threads, with the whole run: "
        "take processes for pictures that you do not trust"
    )
    one, run = max(lost["process"].values) == 1, min(lost["thread"].values) > 1
    return Finding(verdict=_all_some_none([one, run]), meaning=meaning)


def queues_remove_locks(evidence: Evidence, _job: Job) -> Finding:
    """13: the same updates through a queue, and many items through the thread executor."""
    without = evidence.need("lost_updates", "read_yield_write_worst")
    queued = evidence.need("lost_updates", "with_queue_worst")
    handed = evidence.need("through_queue", "handed")
    wrong = [evidence.need("through_queue", name) for name in ("missing", "twice")]
    if not without.value:
        raise NotMeasured("nothing was lost without a queue either, so there was nothing for it to prevent")
    whole = not queued.value and not any(number.value for number in wrong)
    meaning = (
        f"updates lost without a lock: {words(without)}, through a queue: {words(queued)}; of {handed.value:,.0f} "
        f"items {wrong[0].value:.0f} went missing in the thread executor: steps need no lock as long as they share "
        "nothing else"
    )
    return Finding(verdict=Verdict.HOLDS if whole else Verdict.REFUTED, meaning=meaning)


def _all_some_none(held: list[bool]) -> Verdict:
    if all(held):
        return Verdict.HOLDS
    return Verdict.HERE_NOT_THERE if any(held) else Verdict.REFUTED


def _apart(more: Number, less: Number) -> Verdict:
    """Whether `more` is the larger one, both intervals apart. Raises `NotMeasured` when they overlap."""
    assert more.low is not None
    assert more.high is not None
    assert less.low is not None
    assert less.high is not None
    if more.low > less.high:
        return Verdict.HOLDS
    if more.high < less.low:
        return Verdict.REFUTED
    raise NotMeasured(f"{words(more)} against {words(less)}: their intervals overlap")


def _need_interval(*numbers: Number) -> None:
    for number in numbers:
        if number.low is None:
            raise NotMeasured(f"{number.name}: {len(number.values)} rounds are too few to tell")


def _need_cores(evidence: Evidence, experiment: str) -> None:
    if evidence.need(experiment, "cores").value < 2:
        raise NotMeasured("one usable core: nothing can run side by side")


def _extra(evidence: Evidence, kind: str) -> float:
    """Seconds that 8 MB cost beyond an empty message."""
    large = evidence.need("payload", f"echo_{kind}_seconds", LARGE_BYTES)
    return large.value - evidence.need("payload", f"echo_{kind}_seconds", 0.0).value


def _processes_gain(evidence: Evidence, step: str) -> bool:
    """Whether processes pay on a step. Raises `NotMeasured` when they do not, but found no free core either."""
    name = STEPS[step]
    _need_quiet(evidence, step)
    if beyond(evidence.need("steps", f"{step}.processes_gain"), PAYS, f"{name} in processes"):
        return True
    waited = evidence.find("steps", f"{step}.processes_run_queue")
    if waited is None:
        raise NotMeasured(f"{name}: processes gained nothing, and whether cores were free is not known here")
    if waited.value > MOST_WAITED:
        raise NotMeasured(f"{name}: processes waited {words(waited)} of their time for a core: the machine was busy")
    return False


def _need_quiet(evidence: Evidence, step: str) -> None:
    """On a busy machine several workers get more of it than one does: that is no gain of theirs."""
    waited = evidence.find("steps", f"{step}.serial_run_queue")
    if waited is not None and waited.value > MOST_WAITED:
        raise NotMeasured(f"{STEPS[step]}: even one worker waited {words(waited)} of its time for a core")


def _lighter(evidence: Evidence) -> list[bool]:
    """Whether a thread weighs less; nothing where the system does not tell."""
    threads, processes = (evidence.find("memory", f"{kind}_pss_bytes") for kind in ("thread", "process"))
    if threads is None or processes is None:
        return []
    _need_interval(threads, processes)
    return [_apart(processes, threads) is Verdict.HOLDS]


def _repays(evidence: Evidence) -> str:
    """Up to which payload processes pay on a step that holds the GIL, as the end of a sentence."""
    gained = evidence.need("payload", "work_processes_gain", PICTURE_BYTES)
    crossing = evidence.find("payload", "break_even_payload")
    if gained.low is not None and gained.low > 1:
        return f"repays it up to {size(crossing.value)}" if crossing else f"repays it even at {size(LARGE_BYTES)}"
    if gained.high is not None and gained.high < 1:
        return "does not repay it"
    return "may or may not repay it: the machine was not quiet enough to tell"


def _crew(job: Job) -> str:
    number = "" if job.download_mode == "serial" else f" with {job.download_workers} workers"
    return f"{job.download_mode} mode{number}"
