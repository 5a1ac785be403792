"""Labels of averages over tasks."""

from collections.abc import Mapping

from ..study.claim_entry import AverageEntry
from .scores import Labels

MAIN = "average"
"""The metric of an average itself; the metrics of its tasks have the tasks' names."""


def average_labels(averages: Mapping[str, AverageEntry], labels: Labels) -> Labels:
    """Labels of a study's averages in place of its tasks.

    Args:
        averages: the study's `averages`.
        labels: of the same study.
    """
    shown = {}
    for name, entry in averages.items():
        tasks = entry.all_tasks
        shown[name] = {
            "label": entry.label,
            "metric": MAIN,
            "metric_label": "average",
            "model": labels.tasks[tasks[0]].model,
            "metrics": {task: labels.tasks[task].label for task in tasks},
            "footnote": entry.footnote or "",
        }
    methods = {name: vars(method) for name, method in labels.methods.items()}
    return Labels.from_json({"methods": methods, "tasks": shown, "ratios": labels.ratios})
