"""What to change next: hints that follow from the evidence, best first."""

import itertools
from collections.abc import Iterator

from batchproc.explain.choices import compare, find_alternatives
from batchproc.explain.measured import Measured, full_workers
from batchproc.explain.predict import MODES
from batchproc.explain.reasons import Advice, Rank
from batchproc.explain.rules import from_evidence
from batchproc.record.explanation import Alternative, Hint, Variant
from batchproc.record.run import RunRecord

MOST = 8
STAGES = ("download", "transform")


def find_hints(record: RunRecord, run: Measured) -> list[Hint]:
    """At most eight, the largest predicted gain first, then those whose gain is not known."""
    hints = [*_from_predictions(record, run), *from_evidence(record, run)]
    return sorted(hints, key=lambda hint: -(hint.gain or 0.0))[:MOST]


def _from_predictions(record: RunRecord, run: Measured) -> Iterator[Hint]:
    """The best change of each stage alone, and of both together where that is clearly better still."""
    best_alone = 1.0
    for stage in STAGES:
        found = [one for one in find_alternatives(record, run, stage) if one.rank == Rank.BETTER]
        if found:
            best = max(found, key=lambda one: one.predicted_ratio or 0.0)
            best_alone = max(best_alone, best.predicted_ratio or 0.0)
            yield _change(run, stage, best)
    variant, both = _best_pair(record, run)
    if both.rank == Rank.BETTER and (both.predicted_ratio or 0.0) > 1.1 * best_alone:
        modes = {"download": variant.download, "transform": variant.transform}
        yield Hint(code=Advice.CHANGE_BOTH_MODES, values={**both.values, **modes}, gain=both.predicted_ratio)


def _best_pair(record: RunRecord, run: Measured) -> tuple[Variant, Alternative]:
    variants = [
        Variant(
            download=download,
            download_workers=full_workers(record, "download", download),
            transform=transform,
            transform_workers=full_workers(record, "transform", transform),
        )
        for download, transform in itertools.product(MODES, MODES)
    ]
    compared = [(variant, compare(run, variant, "transform")) for variant in variants]
    return max(compared, key=lambda pair: pair[1].predicted_ratio or 0.0)


def _change(run: Measured, stage: str, one: Alternative) -> Hint:
    is_same_mode = one.mode == getattr(run.variant, stage)
    return Hint(
        code=Advice.CHANGE_WORKERS if is_same_mode else Advice.CHANGE_MODE,
        values={
            **one.values,
            "stage": stage,
            "mode": one.mode,
            "workers": one.workers,
            "workers_now": getattr(run.variant, f"{stage}_workers"),
        },
        gain=one.predicted_ratio,
    )
