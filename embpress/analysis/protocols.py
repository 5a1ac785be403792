"""Comparison of the protocols of one task: models trained before or after their compression."""

from pandas import DataFrame

from .scores import Labels, mean_over_seeds

PROTOCOL_COLUMNS = [
    *("family", "block", "task", "protocol", "method", "target_ratio", "achieved_ratio", "seeds"),
    *("value", "value_sd", "retention", "retention_low", "retention_high", "note"),
]


def compare_protocols(scores: DataFrame, labels: Labels) -> DataFrame:
    """Main metrics, averaged over seeds, of methods that ran by several protocols of one task.

    Tasks of one family share data and the fine-tuned, uncompressed model that retention is relative
    to. Controls are left out.

    Returns:
        Rows of PROTOCOL_COLUMNS by family (the name of the task that fine-tunes the model), block
        (the study's target ratio), method and task, each in the order of the study.
    """
    means = mean_over_seeds(scores)
    families = {name: task.family or name for name, task in labels.tasks.items()}
    main = means["task"].map({name: task.metric for name, task in labels.tasks.items()})
    rows = means[(means["metric"] == main) & means["target_ratio"].notna()]
    blocks = rows["target_ratio"].map(labels.block)
    rows = rows.assign(family=rows["task"].map(families), block=blocks)
    keys = ["family", "method", "target_ratio"]
    rows = rows[rows.groupby(keys)["task"].transform("nunique") > 1]
    order = {
        "family": {name: i for i, name in enumerate(families)},
        "task": {name: i for i, name in enumerate(labels.tasks)},
        "method": {name: i for i, name in enumerate(labels.methods)},
    }
    rows = rows.sort_values(
        ["family", "block", "method", "target_ratio", "task"],
        key=lambda column: column.map(order[column.name]) if column.name in order else column,
    )
    return rows[PROTOCOL_COLUMNS].reset_index(drop=True)


def protocol_heads(tasks: DataFrame, labels: Labels, names: dict[str, str]) -> dict[str, str]:
    """What tells the tasks of one family apart: the protocol, or the label where tasks share it.

    Args:
        tasks: rows of `compare_protocols` of one family.
        labels: of the same study.
        names: of protocols.
    """
    protocols = tasks.groupby("task", sort=False)["protocol"].first()
    shared = set(protocols[protocols.duplicated(keep=False)])
    return {
        task: about.label if protocols[task] in shared else names.get(protocols[task], task)
        for task, about in labels.tasks.items()
        if task in protocols.index
    }
