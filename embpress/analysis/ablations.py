"""Comparison of the variants of one method at equal target ratio."""

from pandas import DataFrame

from .scores import Labels, mean_over_seeds

ABLATION_COLUMNS = [
    "base",
    "task",
    "target_ratio",
    "method",
    "achieved_ratio",
    "value",
    "value_sd",
    "seeds",
]
ABLATION_COLUMNS += [
    "retention",
    "retention_low",
    "retention_high",
    "weighted_relative_error",
    "note",
]


def compare_variants(scores: DataFrame, labels: Labels) -> DataFrame:
    """Main metrics, averaged over seeds, where several variants of a method ran at the same ratio.

    Variants that compress layers are left out, since their ratios cover other matrices.

    Returns:
        Rows by method (`base`), task, target ratio and variant, each in the order of the study.
    """
    means = mean_over_seeds(scores)
    main = means["task"].map({name: task.metric for name, task in labels.tasks.items()})
    of_embedding = means["method"].map(
        {name: not method.compresses_layers for name, method in labels.methods.items()}
    )
    means = means[(means["metric"] == main) & means["target_ratio"].notna() & of_embedding].assign(
        base=lambda rows: rows["method"].map(
            {name: method.base for name, method in labels.methods.items()}
        )
    )
    several = means.groupby(["base", "task", "target_ratio"])["method"].transform("nunique") > 1
    variants = means[several & (means["base"] != "")]
    order = {
        "base": {
            method.base: i for i, method in reversed(list(enumerate(labels.methods.values())))
        },
        "task": {name: i for i, name in enumerate(labels.tasks)},
        "method": {name: i for i, name in enumerate(labels.methods)},
    }
    columns = ["base", "task", "target_ratio", "method"]
    variants = variants.sort_values(
        columns,
        key=lambda column: column.map(order[column.name]) if column.name in order else column,
    )
    return variants[ABLATION_COLUMNS].reset_index(drop=True)
