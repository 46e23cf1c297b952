"""From measurements to sentences: pure functions on the record of a run. Nothing is said that was not measured.

    findings.explain(record) -> verdict, bottleneck, choices, ceilings, measured rates, hints, crossover, break-even

`predict` holds the model, which the bench uses as well; `run_model` fits it to a run; `choices` and `findings` conclude
by it, in codes and numbers; `wording`, `mode_wording` and `words` make sentences of those. `auto` chooses modes while a
run goes on. Nothing is imported here: a run that had nothing to do needs only the words.
"""
