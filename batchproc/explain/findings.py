"""The whole explanation of a run, put together from its parts: codes and numbers first, then the words for them."""

from dataclasses import replace

from batchproc.explain.bottleneck import LEAST_ITEMS, doubt_about_modes, find_bottleneck
from batchproc.explain.ceilings import find_break_even, find_ceilings, find_crossover
from batchproc.explain.choices import find_choice
from batchproc.explain.hints import find_hints, whatever_the_modes
from batchproc.explain.reasons import Doubt, Judgement
from batchproc.explain.run_model import RunModel, measure, working_seconds
from batchproc.explain.wording import unknown, worded
from batchproc.record.explanation import Choice, Value
from batchproc.record.run_json import RunRecord


def explain(record: RunRecord) -> RunRecord:
    """The record with its explanation. Pure; unknown is None, with a code and a sentence that say why."""
    return worded(find_reasons(record))


def find_reasons(record: RunRecord) -> RunRecord:
    """The record with the codes and numbers of its explanation, without a word."""
    bottleneck, run = find_bottleneck(record), measure(record)
    if run is None:
        return unknown(record, bottleneck, Doubt.TOO_LITTLE)
    if doubt := doubt_about_modes(record):
        why: dict[str, Value] = {"doubt": doubt, "items_needed": LEAST_ITEMS}
        choices = tuple(
            Choice(stage=name, mode=stage.mode, workers=stage.workers, code=Judgement.NO_VERDICT, values=why)
            for name, stage in record.stages.items()
        )
        found = _with_ceilings(unknown(record, bottleneck, doubt, why), run)
        return replace(found, choices=choices, hints=tuple(whatever_the_modes(record)))
    return replace(
        _with_ceilings(record, run),
        bottleneck=bottleneck,
        choices=tuple(find_choice(record, run, stage) for stage in ("download", "transform")),
        hints=tuple(find_hints(record, run)),
        crossover=find_crossover(run),
        break_even=find_break_even(run),
    )


def _with_ceilings(record: RunRecord, run: RunModel) -> RunRecord:
    rates = {name: stage.tasks / working_seconds(record) for name, stage in record.stages.items()}
    return replace(record, ceilings=find_ceilings(record, run), measured_rate_per_second=rates)
