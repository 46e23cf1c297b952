"""The whole explanation of a run, put together from its parts."""

from dataclasses import replace

from batchproc.explain.auto import Verdict
from batchproc.explain.bottleneck import find_bottleneck
from batchproc.explain.ceilings import find_ceilings
from batchproc.explain.choices import find_choice
from batchproc.explain.crossover import find_break_even, find_crossover
from batchproc.explain.enough import doubt_about_modes
from batchproc.explain.hints import best_text, find_hints
from batchproc.explain.measured import Measured, measure, working_seconds
from batchproc.explain.rules import whatever_the_modes
from batchproc.explain.unknown import unknown
from batchproc.explain.wording import bottleneck_text
from batchproc.record.explanation import Choice
from batchproc.record.run import Bottleneck, RunRecord


def explain(record: RunRecord) -> RunRecord:
    """The record with its explanation. Pure; unknown is None and a sentence that says why."""
    found, run = find_bottleneck(record), measure(record)
    bottleneck = replace(found, because=bottleneck_text(record, found))
    if run is None:
        return unknown(record, bottleneck)
    if doubt := doubt_about_modes(record):
        return _without_verdict(record, run, bottleneck, doubt)
    choices = tuple(find_choice(record, run, stage) for stage in ("download", "transform"))
    hints = find_hints(record, run)
    return replace(
        _with_ceilings(record, run),
        verdict=(_held_back(bottleneck), _modes_text(record, choices), best_text(hints)),
        bottleneck=bottleneck,
        choices=choices,
        hints=tuple(hints),
        crossover=find_crossover(run),
        break_even=find_break_even(run),
    )


def _modes_text(record: RunRecord, choices: tuple[Choice, ...]) -> str:
    """What was measured against each other comes first; what is only predicted is left out beside it."""
    auto = record.auto
    if auto and auto.verdict in (Verdict.CHANGED, Verdict.KEPT_AFTER_RACE, Verdict.KEPT):
        return auto.text
    return "; ".join(choice.brief for choice in choices)


def _held_back(bottleneck: Bottleneck) -> str:
    return f"held back by {bottleneck.because}" if bottleneck.stage else bottleneck.because


def _with_ceilings(record: RunRecord, run: Measured) -> RunRecord:
    rates = {name: stage.tasks / working_seconds(record) for name, stage in record.stages.items()}
    return replace(record, ceilings=find_ceilings(record, run), measured_rate_per_second=rates)


def _without_verdict(record: RunRecord, run: Measured, bottleneck: Bottleneck, doubt: str) -> RunRecord:
    """What is left to say of a run that was too short, or waited too much, to judge its modes."""
    hints = list(whatever_the_modes(record))
    choices = tuple(
        Choice(stage=name, mode=stage.mode, workers=stage.workers, brief=doubt, verdict=doubt)
        for name, stage in record.stages.items()
    )
    return replace(
        _with_ceilings(unknown(record, bottleneck, doubt), run),
        verdict=(_held_back(bottleneck), _modes_text(record, choices[:1]), best_text(hints)),
        choices=choices,
        hints=tuple(hints),
    )
