"""What claims may be tested by. Plain data, for a config is checked where there is neither torch nor pandas."""

METRICS = {
    "classification": ("accuracy",),
    "language_modelling": ("perplexity",),
    "retrieval": ("accuracy", "accuracy_ja_en", "accuracy_en_ja"),
    "similarity": ("spearman", "spearman_lee50", "spearman_simlex999", "spearman_wordsim353"),
}
"""Metrics of each kind of task, as the tasks themselves define them beside code that imports torch."""
ERRORS = {
    **{f"{weighted}{name}": False for weighted in ("", "weighted_") for name in ("relative_error", "distance_db")},
    **{
        f"{weighted}{name}": True
        for weighted in ("", "weighted_")
        for name in ("mean_cosine", "neighbour_overlap", "eigenspace_overlap")
    },
}
"""Columns of scores.csv about the matrix, and whether higher is better."""
