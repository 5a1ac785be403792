"""What scores are called, and what claims may be tested by.

Plain data, for configs are checked without torch and pandas.
"""

from typing import Any

METRICS = {
    "classification": ("accuracy", "f1", "matthews"),
    "language_modelling": ("perplexity",),
    "multiple_choice": ("accuracy",),
    "regression": ("pearson", "spearman"),
    "retrieval": ("accuracy", "accuracy_ja_en", "accuracy_en_ja"),
    "similarity": ("spearman", "spearman_lee50", "spearman_simlex999", "spearman_wordsim353"),
    "span": ("f1", "exact_match"),
}
"""Metrics of each kind of task.

As the tasks themselves define them beside code that imports torch.
"""


def metrics_of(task: dict[str, Any]) -> tuple[str, ...]:
    """Metrics of a task's config entry, the main one first.

    Its `metrics`, or its kind's (of classification, accuracy).
    """
    whole = METRICS[task["kind"]]
    return tuple(task.get("metrics", whole[:1] if task["kind"] == "classification" else whole))


ERRORS = {
    **{
        f"{weighted}{name}": False
        for weighted in ("", "weighted_")
        for name in ("relative_error", "distance_db")
    },
    **{
        f"{weighted}{name}": True
        for weighted in ("", "weighted_")
        for name in ("mean_cosine", "neighbour_overlap", "eigenspace_overlap")
    },
}
"""Columns of scores.csv about the matrix, and whether higher is better."""
