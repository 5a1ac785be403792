"""What scores are called, and what claims may be tested by. Imports no torch and no pandas."""

from typing import Any

from ..tasks import entry_model


def metrics_of(task: dict[str, Any]) -> tuple[str, ...]:
    """Metrics of a task's config entry, the main one first: its own, or those of its kind."""
    return tuple(task.get("metrics") or entry_model(task["kind"]).default_metrics())


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
