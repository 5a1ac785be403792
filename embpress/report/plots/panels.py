"""What figures share: choosing rows, panels, markers that stay in sight, and legends."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from pandas import DataFrame

from ...analysis.scores import Labels, mean_over_seeds
from .style import CONTROLS, PAGE, Style, new_figure, styled, styles

HALO = [withStroke(linewidth=1.5, foreground="white")]
SMALL: Any = {"fontsize": 6, "va": "center", "textcoords": "offset points", "path_effects": HALO}
"""Labels inside panels: readable over lines, which they do not hide."""
ON_WHITE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.3}
DASHED: Any = {"color": "black", "linewidth": 0.6, "linestyle": (0, (4, 2))}
"""The line of the uncompressed model."""


def drawn(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a function so that it draws in the project's style."""

    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with styled():
            return draw(*args, **kwargs)

    return wrapper


def main_scores(scores: DataFrame, labels: Labels) -> DataFrame:
    """Means over seeds of the main metrics."""
    means = mean_over_seeds(scores)
    return means[
        means["metric"] == means["task"].map({k: t.metric for k, t in labels.tasks.items()})
    ]


def compressed(frame: DataFrame, labels: Labels, compresses_layers: bool = False) -> DataFrame:
    """Rows of compressed models: of methods for the embedding alone, or of those for layers too."""
    shown = {
        k: m.kind != "control" and m.compresses_layers == compresses_layers
        for k, m in labels.methods.items()
    }
    return frame[frame["method"].map(shown).astype(bool) & frame["target_ratio"].notna()]


def tasks_in(rows: DataFrame, labels: Labels) -> list[str]:
    """Tasks with rows, in the order of the study."""
    return [task for task in labels.tasks if task in set(rows["task"])]


def grid(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure as wide as the page with two panels in a row."""
    columns = min(2, panels)
    lines = math.ceil(panels / columns)
    figure = new_figure(PAGE, height * lines + 0.8)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def axis_labels(axes: list[Axes], columns: int, x: str, y: str) -> None:
    """Label the lowest panel of each column and the first panel of each row."""
    for i, panel in enumerate(axes):
        panel.set(
            xlabel=x if i + columns >= len(axes) else "", ylabel=y if i % columns == 0 else ""
        )


def title_of(labels: Labels, task: str) -> str:
    """The label of a task and, after a comma, its metric."""
    return f"{labels.tasks[task].label}, {labels.tasks[task].metric_label}"


def floor_of(panel: Axes, means: DataFrame, kept: DataFrame) -> float:
    """Set the y limits from the controls to a little above 100 %, and return the lower limit.

    Values far below would flatten all other ones: `point` and the lines pin them to the lower edge.

    Args:
        panel: of one task.
        means: of the task.
        kept: rows of `means` that the panel shows beside the controls.
    """
    controls = means[means["method"].isin(CONTROLS)]
    top = max(100.0, np.nanmax([*kept["retention_high"], 100.0]))
    floor = controls["retention_low"].min()
    low = np.nanmin([*kept["retention_low"], floor, 95.0])
    if not math.isnan(floor):
        low = max(low, floor - 0.25 * (top - floor))
    margin = 0.05 * (top - low)
    panel.set_ylim(low - margin, top + margin)
    return float(low)


def point(panel: Axes, x: float, y: float, floor: float, style: Style, size: float) -> None:
    """Draw a marker; below the floor a hollow one at the lower edge, with its value beside it."""
    if y >= floor:
        panel.plot(
            x,
            y,
            style.marker,
            color=style.colour,
            markersize=size,
            alpha=0.85,
            markeredgewidth=0.3,
            mec="white",
        )
        return
    panel.plot(
        x,
        floor,
        style.marker,
        color=style.colour,
        markersize=size,
        markerfacecolor="white",
        clip_on=False,
    )
    # Values of pinned markers close to each other are stacked, on white, since lines pass there.
    close = sum(
        abs(text.xy[0] - x) < 0.12 * x for text in panel.texts if isinstance(text, Annotation)
    )
    panel.annotate(
        f"↓{y:.0f}",
        (x, floor),
        (0, 3 + size / 2 + 7 * close),
        textcoords="offset points",
        ha="center",
        color=style.colour,
        fontsize=6.5,
        bbox=ON_WHITE,
        zorder=5,
    )


def band(control: str) -> dict[str, Any]:
    """Style of a control's band: filled for the mean row, hatched for random rows.

    The two bands often overlap.
    """
    colour = CONTROLS[control].colour
    filled = control == "mean"
    return {
        "facecolor": colour if filled else "none",
        "edgecolor": colour,
        "hatch": "" if filled else "//////",
        "linewidth": 0.8,
    }


def method_handles(rows: DataFrame, labels: Labels, line: bool = True) -> list[Any]:
    """Legend entries of the methods that a figure shows, in the order of the study."""
    look = styles(labels.methods)
    if "retention" in rows:
        rows = rows[rows["retention"].notna()]
    return [
        Line2D(
            [],
            [],
            color=look[m].colour,
            marker=look[m].marker,
            markersize=4.2,
            linewidth=0.9 * line,
            label=a.label,
        )
        for m, a in labels.methods.items()
        if m in set(rows["method"])
    ]


def control_handles(means: DataFrame, labels: Labels) -> list[Any]:
    """Legend entries of the uncompressed model and of the controls' bands."""
    handles: list[Any] = [Line2D([], [], label="uncompressed", **DASHED)]
    for method in CONTROLS:
        if method in set(means["method"]):
            handles.append(Patch(label=labels.methods[method].label, **band(method)))
    return handles


def legend(figure: Figure, methods: list[Any], others: list[Any], columns: int) -> None:
    """One legend below all panels, in at most `columns` columns that fit the figure's width.

    Methods fill whole columns, so that others start a column.
    """
    for number in range(columns, 0, -1):
        handles = _in_columns(methods, others, number)
        drawn = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=number,
            handlelength=1.8,
            columnspacing=1.2,
            labelspacing=0.35,
        )
        if number == 1 or drawn.get_window_extent().width <= figure.bbox.width:
            return
        drawn.remove()


def _in_columns(methods: list[Any], others: list[Any], columns: int) -> list[Any]:
    """Handles of a legend, with blank ones where others would not start a column."""
    rows = math.ceil((len(methods) + len(others)) / columns)
    blank = [Line2D([], [], linestyle="", label=" ")] * (
        -len(methods) % rows if rows and others else 0
    )
    if len(methods) + len(blank) + len(others) > rows * columns:
        blank = []
    return methods + blank + others
