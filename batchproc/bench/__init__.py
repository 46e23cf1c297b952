"""Which mode wins, proven: cases, interleaved rounds, statistics, verdicts."""
