"""From measurements to sentences: pure functions on the record of a run. Nothing is said that was not measured.

    explanation.explain(record) -> verdict, bottleneck, choices, ceilings, measured rates, hints, crossover, break-even

`predict` holds the model, which the bench uses as well; `measured` fits it to a run; the rest turns both into words.
Nothing is imported here: a run that had nothing to do needs only `words` and `unknown`.
"""
