"""Relative error of the matrix by token frequency, and by ratio beside its bound."""

from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from pandas import DataFrame

from ...analysis.scores import Labels
from .panels import axis_labels, compressed, drawn, legend, main_scores, method_handles
from .style import PAGE, new_figure, styles

WEIGHTINGS = {
    "uniform": ("relative_error", "plain"),
    "counts": ("weighted_relative_error", "count-weighted"),
}
"""Column of the error, and title, by the name of the weighting in the table of bounds."""
UNREACHABLE = "#e2e2e2"


@drawn
def error_by_decile(deciles: DataFrame, labels: Labels) -> Figure:
    """Relative error by decile of token frequency: a row a checkpoint, a column a target ratio."""
    rows = compressed(deciles, labels)
    rows = rows.assign(block=[labels.block(r) for r in rows["target_ratio"]])
    models = sorted(set(rows["model"]))
    ratios = sorted(set(rows["block"]))
    look = styles(labels.methods)
    figure = new_figure(PAGE, 0.8 + 1.5 * max(1, len(models)))
    axes = figure.subplots(
        max(1, len(models)), max(1, len(ratios)), sharex=True, sharey=True, squeeze=False
    )
    for line, model in zip(axes, models):
        for panel, ratio in zip(line, ratios):
            part = rows[(rows["model"] == model) & (rows["block"] == ratio)]
            for (method, _), points in part.groupby(["method", "target_ratio"]):
                curve = points.groupby("decile")["relative_error"].mean()
                style = look[str(method)]
                panel.plot(
                    curve.index,
                    curve,
                    color=style.colour,
                    marker=style.marker,
                    markersize=3.2,
                    linewidth=0.9,
                )
            if model == models[0]:
                panel.set_title(f"target ratio {ratio:g}×")
            panel.xaxis.set_major_locator(FixedLocator([1, 4, 7, 10]))
    axes[0, 0].set_ylim(0, 1.05 * float(np.nanmax([*rows["relative_error"], 1e-3])))
    axis_labels(list(axes.flat), axes.shape[1], "frequency decile (1: most frequent)", "")
    for panel, model in zip(axes[:, 0], models):
        panel.set_ylabel("\n".join([*wrap(model, 24), "relative error"]))
    legend(figure, method_handles(rows, labels), [], columns=4)
    return figure


@drawn
def error_vs_ratio(scores: DataFrame, bounds: DataFrame, labels: Labels) -> Figure:
    """Relative error by achieved ratio beside the rate-distortion bound: a row a checkpoint.

    Unweighted errors are on the left, count-weighted ones on the right.
    """
    rows = compressed(main_scores(scores, labels), labels).dropna(subset=["achieved_ratio"])
    checkpoint = rows["task"].map({k: t.checkpoint or t.model for k, t in labels.tasks.items()})
    # Tasks that share a checkpoint share its artefacts.
    rows = rows.assign(checkpoint=checkpoint).drop_duplicates(
        ["checkpoint", "method", "target_ratio"]
    )
    checkpoints = list(dict.fromkeys(rows["checkpoint"]))
    figure = new_figure(PAGE, 0.9 + 1.75 * max(1, len(checkpoints)))
    axes = figure.subplots(
        max(1, len(checkpoints)), len(WEIGHTINGS), sharex=True, sharey=True, squeeze=False
    )
    for line, name in zip(axes, checkpoints):
        for panel, (weighting, (column, title)) in zip(line, WEIGHTINGS.items()):
            of_checkpoint = bounds[(bounds["model"] == name) & (bounds["weighting"] == weighting)]
            _bound_panel(panel, rows[rows["checkpoint"] == name], column, of_checkpoint, labels)
            panel.set_title(f"{name}, {title}")
    _error_axes(axes[0, 0], rows)
    axis_labels(
        list(axes.flat),
        axes.shape[1],
        "compression ratio of the embedding matrix",
        "relative error",
    )
    others: list[Any] = [
        Line2D([], [], color="black", linewidth=1.2, label="rate-distortion bound")
    ]
    others.append(Patch(facecolor=UNREACHABLE, label="not reachable by any code for Gaussian rows"))
    legend(figure, method_handles(rows, labels), others, columns=3)
    return figure


def _bound_panel(
    panel: Axes, rows: DataFrame, column: str, bounds: DataFrame, labels: Labels
) -> None:
    """Draw the methods above the line of the bound, below which all is grey."""
    look = styles(labels.methods)
    bound = bounds.groupby("ratio")["relative_error"].mean()
    panel.fill_between(bound.index, bound, 1e-9, color=UNREACHABLE, linewidth=0, zorder=0.5)
    panel.plot(bound.index, bound, color="black", linewidth=1.2)
    for method in labels.methods:
        line = rows[rows["method"] == method].sort_values("achieved_ratio")
        style = look[method]
        x = line["achieved_ratio"]
        y = line[column]
        panel.plot(x, y, color=style.colour, linewidth=0.7, alpha=0.6)
        panel.plot(
            x,
            y,
            style.marker,
            color=style.colour,
            markeredgecolor="white",
            markeredgewidth=0.3,
            markersize=4.2,
        )


def _error_axes(panel: Axes, rows: DataFrame) -> None:
    """Log axes around all values, with plain numbers at the ticks."""
    ratios = rows["achieved_ratio"]
    errors = rows[[column for column, _ in WEIGHTINGS.values()]].to_numpy().ravel()
    panel.set(xscale="log", yscale="log")
    panel.set_xlim(max(2.0, ratios.min() / 1.25), min(64.0, ratios.max() * 1.25))
    panel.set_ylim(
        np.nanmin(errors[errors > 0], initial=0.5) / 1.6, 1.25 * np.nanmax(errors, initial=1.0)
    )
    panel.xaxis.set_major_locator(FixedLocator([2, 4, 8, 16, 32, 64]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.yaxis.set_major_locator(FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_minor_locator(NullLocator())
