"""From evidence to sentences: pure functions on run.json. Nothing is said that was not measured."""
