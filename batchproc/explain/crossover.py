"""Where processes overtake threads: the number of cores, and the number of items that repays their start."""

import math
from dataclasses import replace

from batchproc.explain.measured import Measured
from batchproc.explain.predict import predict, start_seconds
from batchproc.explain.reasons import BreakEvenReason, CrossoverReason
from batchproc.record.run import BreakEven, Crossover


def find_crossover(run: Measured) -> Crossover:
    """P* = 1 / phi for the transform stage, with the rest of the main process's GIL time in the same sum."""
    phi = run.shares["transform"]
    if phi is None:
        return Crossover(code=CrossoverReason.NO_CPU)
    if not phi.is_known:
        unknown = CrossoverReason.GIL_UNKNOWN
        return Crossover(phi_low=phi.low, phi_high=phi.high, code=unknown, values=phi.values)
    limit, here = _crossover_cores(run), run.job.cores
    return Crossover(
        phi=phi.point,
        phi_low=phi.low,
        phi_high=phi.high,
        cores=limit,
        code=CrossoverReason.THREADS_REACH if limit > here else CrossoverReason.PROCESSES_NEEDED,
        values={**phi.values, "cores": limit, "cores_free": here},
    )


def _crossover_cores(run: Measured) -> float:
    """CPU of both stages per second of the one GIL, were both in threads."""
    job = run.job
    held = job.glue_seconds + sum(stage.phi * stage.cpu_seconds for stage in (job.download, job.transform))
    return (job.glue_seconds + job.download.cpu_seconds + job.transform.cpu_seconds) / held


def find_break_even(run: Measured) -> BreakEven:
    """The number of items from which transform in processes repays its start against transform in threads."""
    phi = run.shares["transform"]
    if phi is None or not phi.is_known or not run.fits:
        return BreakEven(code=BreakEvenReason.UNKNOWN)
    workers = max(2, run.variant.transform_workers)
    threads = replace(run.variant, transform="thread", transform_workers=workers)
    processes = replace(threads, transform="process")
    slow, quick = (predict(run.job, one).steady_rate_per_second for one in (threads, processes))
    gain = 1.0 / slow - 1.0 / quick
    cost = start_seconds(run.job, processes) - start_seconds(run.job, threads)
    values = {"workers": workers, "start_seconds": cost, "gain_seconds": gain}
    if gain <= 0:
        return BreakEven(code=BreakEvenReason.NEVER, values=values)
    items = max(1, math.ceil(cost / gain))
    return BreakEven(items=items, code=BreakEvenReason.PAYS, values={**values, "items": items})
