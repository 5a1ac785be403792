"""Labels of averages over tasks."""

from collections.abc import Mapping
from typing import Any

from .scores import Labels

MAIN = "average"
"""The metric of an average itself; the metrics of its tasks have the tasks' names."""


def average_labels(averages: Mapping[str, Mapping[str, Any]], labels: Labels) -> Labels:
    """Labels of a study's averages in place of its tasks.

    Args:
        averages: the study's `averages`.
        labels: of the same study.
    """
    shown = {}
    for name, entry in averages.items():
        # A list among the tasks counts as one of them.
        groups = [[g] if isinstance(g, str) else g for g in entry["tasks"]]
        tasks = [task for group in groups for task in group]
        shown[name] = {
            "label": entry["label"],
            "metric": MAIN,
            "metric_label": "average",
            "model": labels.tasks[tasks[0]].model,
            "metrics": {task: labels.tasks[task].label for task in tasks},
            "footnote": entry.get("footnote", ""),
        }
    methods = {name: vars(method) for name, method in labels.methods.items()}
    return Labels.from_json({"methods": methods, "tasks": shown, "ratios": labels.ratios})
