"""What to change next: hints that follow from the evidence, best first."""

import itertools
from collections.abc import Iterator

from batchproc.explain.choices import better, compare, find_alternatives
from batchproc.explain.measured import Measured, full_workers
from batchproc.explain.predict import MODES
from batchproc.explain.rules import from_evidence
from batchproc.explain.words import crew, significant
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
        found = [one for one in find_alternatives(record, run, stage) if better(one)]
        if found:
            best = max(found, key=lambda one: one.predicted_ratio or 0.0)
            best_alone = max(best_alone, best.predicted_ratio or 0.0)
            yield Hint(text=_change(run, stage, best), evidence=best.because, gain=best.predicted_ratio)
    variant, both = _best_pair(record, run)
    if better(both) and (both.predicted_ratio or 0.0) > 1.1 * best_alone:
        text = f'download.mode = "{variant.download}" and transform.mode = "{variant.transform}" together'
        yield Hint(text=text, evidence=both.because, gain=both.predicted_ratio)


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


def _change(run: Measured, stage: str, one: Alternative) -> str:
    mode, workers = getattr(run.variant, stage), getattr(run.variant, f"{stage}_workers")
    if one.mode == mode:
        return f"{stage}.workers = {one.workers} instead of {workers}"
    return f'{stage}.mode = "{one.mode}"' + (f" with {crew(one.mode, one.workers)}" if one.mode != "serial" else "")


def best_text(hints: list[Hint]) -> str:
    """The first hint as a sentence."""
    if not hints:
        return "nothing in this run's figures says that a change would help"
    gain = f", predicted to make this run {significant(hints[0].gain)} times as fast" if hints[0].gain else ""
    return f"{hints[0].text}{gain}; {hints[0].evidence}"
