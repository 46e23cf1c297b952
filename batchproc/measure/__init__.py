"""What a run costs, where its time goes: clocks, histograms, host samples. Measures; never explains."""
