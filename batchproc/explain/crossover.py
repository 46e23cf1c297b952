"""Where processes overtake threads: the number of cores, and the number of items that repays their start."""

import math
from dataclasses import replace

from batchproc.explain.measured import Measured
from batchproc.explain.predict import predict, start_seconds
from batchproc.explain.words import cores, count, crew, seconds, share, significant
from batchproc.record.run import BreakEven, Crossover


def find_crossover(run: Measured) -> Crossover:
    """P* = 1 / phi for the transform stage, with the rest of the main process's GIL time in the same sum."""
    phi = run.shares["transform"]
    if phi is None:
        return Crossover(text="unknown: the transform stage used no CPU that could be measured")
    if not phi.is_known:
        why = phi.doubt or "what your own steps do with it is not known"
        text = f"unknown: between {share(phi.low)} and {share(phi.high)} of the transform CPU holds the GIL, for {why}"
        return Crossover(phi_low=phi.low, phi_high=phi.high, method=phi.method, text=text)
    limit, here = _crossover_cores(run), run.job.cores
    side = "so threads can use all of them" if limit > here else "so processes are needed to use all of them"
    text = (
        f"about {share(phi.point)} of the transform CPU holds the GIL ({phi.method}): threads can keep about "
        f"{cores(limit)} busy, {significant(here)} were free for this run, {side}"
    )
    return Crossover(
        phi=phi.point, phi_low=phi.low, phi_high=phi.high, method=phi.method, cores=limit, text=text
    )  # fmt: skip


def _crossover_cores(run: Measured) -> float:
    """CPU of the whole line per second of the one GIL, were both stages in threads."""
    job = run.job
    held = job.glue_seconds + sum(stage.phi * stage.cpu_seconds for stage in (job.download, job.transform))
    return (job.glue_seconds + job.download.cpu_seconds + job.transform.cpu_seconds) / held


def find_break_even(run: Measured) -> BreakEven:
    """The number of items from which transform in processes repays its start against transform in threads."""
    workers = max(2, run.variant.transform_workers)
    threads = replace(run.variant, transform="thread", transform_workers=workers)
    processes = replace(threads, transform="process")
    gain = 1.0 / predict(run.job, threads).steady_rate_per_second - 1.0 / predict(
        run.job, processes
    ).steady_rate_per_second
    cost = start_seconds(run.job, processes) - start_seconds(run.job, threads)
    phi = run.shares["transform"]
    if phi is None or not phi.is_known or not run.fits:
        return BreakEven(text="unknown: what a process would gain per image cannot be told from this run")
    start = f"starting {crew('process', workers)} costs {seconds(cost)}"
    if gain <= 0:
        text = f"never for this job: {start}, and after it processes are not faster per image than threads"
        return BreakEven(text=text)
    items = max(1, math.ceil(cost / gain))
    text = f"{start} and gains {seconds(gain)} per image against threads: it pays from {count(items, 'image')} on"
    return BreakEven(items=items, text=text)
