"""Retention by compression ratio, and by the error of the matrix."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from pandas import DataFrame

from ...analysis.scores import Labels
from .panels import (
    DASHED,
    axis_labels,
    band,
    compressed,
    control_handles,
    drawn,
    floor_of,
    grid,
    legend,
    main_scores,
    method_handles,
    point,
    tasks_in,
    title_of,
)
from .style import COLUMN, CONTROLS, new_figure, styles

RATIO = {
    False: "compression ratio of the embedding matrix",
    True: "compression ratio of all compressed matrices",
}
"""Axis labels for methods that compress the embedding alone (False), or layers too (True)."""
DODGE = 0.022
"""Methods at one ratio are spread over twice this width in decades, to separate error bars."""


@drawn
def retention_by_ratio(scores: DataFrame, labels: Labels) -> Figure:
    """Retention with its interval at the achieved ratio, a panel for each task."""
    means = main_scores(scores, labels)
    shown = compressed(means, labels)
    tasks = tasks_in(shown, labels)
    figure, axes = grid(len(tasks), 1.75)
    for panel, task in zip(axes, tasks):
        retention_panel(panel, means[means["task"] == task], shown[shown["task"] == task], labels)
        panel.set_title(title_of(labels, task))
    axis_labels(axes, 2, RATIO[False], "retention (%)")
    controls = control_handles(means[means["task"].isin(tasks)], labels)
    legend(figure, method_handles(shown, labels), controls, columns=4)
    return figure


@drawn
def retention_of_task(scores: DataFrame, labels: Labels, task: str) -> Figure:
    """Retention on one task, in the width of a column.

    Shows methods that compress layers where none compresses the embedding alone.
    """
    means = main_scores(scores, labels)
    means = means[means["task"] == task]
    compresses_layers = compressed(means, labels).empty
    shown = compressed(means, labels, compresses_layers)
    figure = new_figure(COLUMN, 2.8)
    panel = figure.subplots()
    retention_panel(panel, means, shown, labels)
    panel.set(title=title_of(labels, task), xlabel=RATIO[compresses_layers], ylabel="retention (%)")
    legend(figure, method_handles(shown, labels), control_handles(means, labels), columns=2)
    return figure


@drawn
def error_vs_score(scores: DataFrame, labels: Labels) -> Figure:
    """Retention by relative error of the matrix, a panel for each task.

    Markers are larger at higher ratios.
    """
    means = main_scores(scores, labels)
    shown = compressed(means, labels)
    look = styles(labels.methods)
    tasks = tasks_in(shown, labels)
    figure, axes = grid(len(tasks), 1.75)
    for panel, task in zip(axes, tasks):
        own = means[means["task"] == task]
        rows = shown[shown["task"] == task].dropna(subset=["retention"])
        floor = floor_of(panel, own, rows)
        for row in rows.itertuples():
            style = look[str(row.method)]  # type: ignore[arg-type]
            size = _marker_size(labels, float(row.target_ratio))
            point(
                panel, float(row.weighted_relative_error), float(row.retention), floor, style, size
            )  # type: ignore[arg-type]
        panel.axhline(100, **DASHED)
        panel.set_title(title_of(labels, task))
        panel.set_xlim(left=0)
    axis_labels(axes, 2, "relative error, weighted by token frequency", "retention (%)")
    sizes = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            color="#888888",
            markersize=_marker_size(labels, r),
            label=f"target ratio {r:g}×",
        )
        for r in labels.ratios
    ]
    legend(figure, method_handles(shown, labels, line=False), sizes, columns=4)
    return figure


def retention_panel(panel: Axes, means: DataFrame, rows: DataFrame, labels: Labels) -> None:
    """Draw methods with intervals, bands of controls, and the uncompressed model at 100 %."""
    look = styles(labels.methods)
    floor = floor_of(panel, means, rows)
    for row in means[means["method"].isin(CONTROLS)].itertuples():
        low = float(row.retention_low)  # type: ignore[arg-type]
        high = float(row.retention_high)
        # The edge keeps narrow bands visible: perplexities of controls have small intervals.
        panel.axhspan(low, high, **band(str(row.method)))
    panel.axhline(100, **DASHED)
    methods = [m for m in labels.methods if m in set(rows["method"])]
    for offset, method in zip(np.linspace(-DODGE, DODGE, max(2, len(methods))), methods):
        line = rows[(rows["method"] == method) & rows["retention"].notna()].sort_values(
            "achieved_ratio"
        )
        x = line["achieved_ratio"].to_numpy() * 10**offset
        y = line["retention"].to_numpy()
        style = look[method]
        bars = np.abs(line[["retention_low", "retention_high"]].to_numpy().T - y)
        panel.plot(x, np.maximum(y, floor), color=style.colour, linewidth=0.9, alpha=0.8)
        seen = y >= floor
        panel.errorbar(
            x[seen],
            y[seen],
            bars[:, seen],
            fmt="none",
            ecolor=style.colour,
            elinewidth=0.8,
            capsize=1.2,
        )
        for at, value in zip(x, y):
            point(panel, at, value, floor, style, 4.2)
    panel.set_xscale("log")
    # Methods that compress layers may have other target ratios than the study's. A codec's own
    # ratio, such as 3.9, has no tick, as it is next to one of these.
    ticks = sorted(r for r in set(rows["target_ratio"]) if r in labels.ratios or r.is_integer())
    everywhere = [*rows["target_ratio"], *rows["achieved_ratio"].dropna()]
    panel.set_xlim(min(everywhere) / 1.18, max(everywhere) * 1.22)
    panel.xaxis.set_major_locator(FixedLocator(ticks))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.xaxis.set_minor_locator(NullLocator())


def _marker_size(labels: Labels, ratio: float) -> float:
    """Larger at higher target ratios, in the steps of the study."""
    return 3.4 + 1.8 * labels.ratios.index(labels.block(ratio))
