"""What a run costs, where its time goes: clocks, histograms, host samples. Measures; never explains."""

GAUGES_PREFIX = "batchproc-gauges-"  # of the file that a run shows its sampler, and leaves when it is killed
