"""Numbers computed from a study's table of scores: means, correlations, comparisons, verdicts."""
