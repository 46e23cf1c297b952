"""The record of a run: typed, built once by the pipeline, read by everything that explains, reports or measures."""
