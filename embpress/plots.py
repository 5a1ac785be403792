"""Figures: retention against ratio and against reconstruction error, error against its bound and by token frequency."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from pandas import DataFrame

from .plot_style import COLUMN, CONTROLS, PAGE, Style, new_figure, styled, styles
from .scores import Labels, over_seeds

DODGE = 0.022
"""Half the width, in decades, over which methods at one ratio are spread so that error bars do not hide each other."""
WEIGHTINGS = {
    "uniform": ("relative_error", "plain"),
    "counts": ("weighted_relative_error", "count-weighted"),
}
"""Column of the error, and title, by the name of the weighting in the table of bounds."""
UNREACHABLE = "#e2e2e2"


def _drawn(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in the project's style."""

    @wraps(draw)
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with styled():
            return draw(*args, **kwargs)

    return wrapper


@_drawn
def retention_by_ratio(scores: DataFrame, labels: Labels) -> Figure:
    """Small multiples over the page: retention with its interval at the ratio reached, a panel a task."""
    means, tasks = _main(scores, labels), list(labels.tasks)
    figure, axes = _grid(len(tasks), 1.75)
    for panel, task in zip(axes, tasks):
        _retention_panel(panel, means[means["task"] == task], labels)
        panel.set_title(_title(labels, task))
    _axis_labels(axes, 2, "compression ratio of the embedding matrix", "retention (%)")
    _legend(figure, _method_handles(means, labels), _control_handles(means, labels), columns=4)
    return figure


@_drawn
def retention_of_task(scores: DataFrame, labels: Labels, task: str) -> Figure:
    """One task's panel at column width."""
    means = _main(scores, labels)
    means = means[means["task"] == task]
    figure = new_figure(COLUMN, 2.8)
    panel = figure.subplots()
    _retention_panel(panel, means, labels)
    panel.set(title=_title(labels, task), xlabel="compression ratio of the embedding matrix", ylabel="retention (%)")
    _legend(figure, _method_handles(means, labels), _control_handles(means, labels), columns=2)
    return figure


@_drawn
def error_vs_score(scores: DataFrame, labels: Labels) -> Figure:
    """Does a small error of the matrix mean a good score? A panel a task; bigger markers at higher ratios."""
    means, tasks = _main(scores, labels), list(labels.tasks)
    figure, axes = _grid(len(tasks), 1.75)
    look = styles(labels.methods)
    for panel, task in zip(axes, tasks):
        found = _compressed(means[means["task"] == task], labels).dropna(subset=["retention"])
        floor = _floor(panel, means[means["task"] == task])
        for row in found.itertuples():
            style, size = look[str(row.method)], _marker_size(labels, float(row.ratio_asked))  # type: ignore[arg-type]
            _point(panel, float(row.weighted_relative_error), float(row.retention), floor, style, size)  # type: ignore[arg-type]
        panel.axhline(100, color="black", linewidth=0.6, linestyle=(0, (4, 2)))
        panel.set_title(_title(labels, task))
        panel.set_xlim(left=0)
    _axis_labels(axes, 2, "relative error, weighted by token frequency", "retention (%)")
    sizes = [
        Line2D([], [], linestyle="", marker="o", color="#888888", markersize=_marker_size(labels, r), label=f"asked {r:g}×")
        for r in labels.ratios
    ]
    _legend(figure, _method_handles(means, labels, line=False), sizes, columns=4)
    return figure


@_drawn
def error_by_decile(deciles: DataFrame, labels: Labels) -> Figure:
    """Which tokens pay: relative error by frequency decile; a row a checkpoint, a column a ratio."""
    found = _compressed(deciles, labels)
    found = found.assign(block=[labels.block(r) for r in found["ratio_asked"]])
    models, ratios, look = sorted(set(found["model"])), sorted(set(found["block"])), styles(labels.methods)
    figure = new_figure(PAGE, 0.8 + 1.5 * max(1, len(models)))
    axes = figure.subplots(max(1, len(models)), max(1, len(ratios)), sharex=True, sharey=True, squeeze=False)
    for line, model in zip(axes, models):
        for panel, ratio in zip(line, ratios):
            part = found[(found["model"] == model) & (found["block"] == ratio)]
            for (method, _), points in part.groupby(["method", "ratio_asked"]):
                curve = points.groupby("decile")["relative_error"].mean()
                style = look[str(method)]
                panel.plot(curve.index, curve, color=style.colour, marker=style.marker, markersize=3.2, linewidth=0.9)
            panel.set_title(f"asked {ratio:g}×" + (f", {model}" if len(models) > 1 else ""))
            panel.xaxis.set_major_locator(FixedLocator([1, 4, 7, 10]))
    axes[0, 0].set_ylim(0, 1.05 * float(np.nanmax([*found["relative_error"], 1e-3])))
    _axis_labels(list(axes.flat), axes.shape[1], "frequency decile (1: most frequent)", "relative error")
    _legend(figure, _method_handles(found, labels), [], columns=4)
    return figure


@_drawn
def error_vs_ratio(scores: DataFrame, bounds: DataFrame, labels: Labels) -> Figure:
    """How far is each method from what is possible? A row a checkpoint; plain errors left, count-weighted ones right."""
    found = _compressed(_main(scores, labels), labels).dropna(subset=["ratio_reached"])
    checkpoint = found["task"].map({k: t.checkpoint or t.model for k, t in labels.tasks.items()})
    # Tasks that share a checkpoint share its artefacts.
    found = found.assign(checkpoint=checkpoint).drop_duplicates(["checkpoint", "method", "ratio_asked"])
    checkpoints = list(dict.fromkeys(found["checkpoint"]))
    figure = new_figure(PAGE, 0.9 + 1.75 * max(1, len(checkpoints)))
    axes = figure.subplots(max(1, len(checkpoints)), len(WEIGHTINGS), sharex=True, sharey=True, squeeze=False)
    for line, name in zip(axes, checkpoints):
        for panel, (weighting, (column, title)) in zip(line, WEIGHTINGS.items()):
            of_checkpoint = bounds[(bounds["model"] == name) & (bounds["weighting"] == weighting)]
            _bound_panel(panel, found[found["checkpoint"] == name], column, of_checkpoint, labels)
            panel.set_title(f"{name}, {title}")
    _error_axes(axes[0, 0], found)
    _axis_labels(list(axes.flat), axes.shape[1], "compression ratio of the embedding matrix", "relative error")
    others: list[Any] = [Line2D([], [], color="black", linewidth=1.2, label="rate-distortion bound")]
    others.append(Patch(facecolor=UNREACHABLE, label="not reachable by any code for Gaussian rows"))
    _legend(figure, _method_handles(found, labels), others, columns=3)
    return figure


def _bound_panel(panel: Axes, found: DataFrame, column: str, bounds: DataFrame, labels: Labels) -> None:
    """Markers of methods over the line of the bound, all below it in grey."""
    look, bound = styles(labels.methods), bounds.groupby("ratio")["relative_error"].mean()
    panel.fill_between(bound.index, bound, 1e-9, color=UNREACHABLE, linewidth=0, zorder=0.5)
    panel.plot(bound.index, bound, color="black", linewidth=1.2)
    for method in labels.methods:
        line = found[found["method"] == method].sort_values("ratio_reached")
        style, x, y = look[method], line["ratio_reached"], line[column]
        panel.plot(x, y, color=style.colour, linewidth=0.7, alpha=0.6)
        panel.plot(x, y, style.marker, color=style.colour, markeredgecolor="white", markeredgewidth=0.3, markersize=4.2)


def _error_axes(panel: Axes, found: DataFrame) -> None:
    """Log axes around all that was measured, with plain numbers at the ticks."""
    ratios = found["ratio_reached"]
    errors = found[[column for column, _ in WEIGHTINGS.values()]].to_numpy().ravel()
    panel.set(xscale="log", yscale="log")
    panel.set_xlim(max(2.0, ratios.min() / 1.25), min(64.0, ratios.max() * 1.25))
    panel.set_ylim(np.nanmin(errors[errors > 0], initial=0.5) / 1.6, 1.25 * np.nanmax(errors, initial=1.0))
    panel.xaxis.set_major_locator(FixedLocator([2, 4, 8, 16, 32, 64]))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.yaxis.set_major_locator(FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_minor_locator(NullLocator())


def _main(scores: DataFrame, labels: Labels) -> DataFrame:
    """Means over seeds of the main metrics."""
    means = over_seeds(scores)
    return means[means["metric"] == means["task"].map({k: t.metric for k, t in labels.tasks.items()})]


def _compressed(frame: DataFrame, labels: Labels) -> DataFrame:
    """Rows of methods that are no control and compress the embedding."""
    shown = frame["method"].map({k: m.kind != "control" and not m.whole_model for k, m in labels.methods.items()})
    return frame[shown & frame["ratio_asked"].notna()]


def _grid(panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure over the page with two panels a row."""
    columns = min(2, panels)
    lines = math.ceil(panels / columns)
    figure = new_figure(PAGE, height * lines + 0.8)
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    for unused in axes[panels:]:
        unused.remove()
    return figure, axes[:panels]


def _axis_labels(axes: list[Axes], columns: int, x: str, y: str) -> None:
    """Label the lowest panel of each column, and the first of each row."""
    for i, panel in enumerate(axes):
        panel.set(xlabel=x if i + columns >= len(axes) else "", ylabel=y if i % columns == 0 else "")


def _title(labels: Labels, task: str) -> str:
    """The task and, after a comma, its metric."""
    return f"{labels.tasks[task].label}, {labels.tasks[task].metric_label}"


def _floor(panel: Axes, means: DataFrame) -> float:
    """Set the y limits so that they hold the controls and end a little above 100; return the lower one.

    What is far below the floor would flatten all else: `_point` and the lines pin it to the lower edge.
    """
    kept = means[~means["method"].isin(["identity", *CONTROLS])]
    controls = means[means["method"].isin(CONTROLS)]
    top = max(100.0, np.nanmax([*kept["retention_high"], 100.0]))
    floor = controls["retention_low"].min()
    low = np.nanmin([*kept["retention_low"], floor, 95.0])
    if not math.isnan(floor):
        low = max(low, floor - 0.25 * (top - floor))
    margin = 0.05 * (top - low)
    panel.set_ylim(low - margin, top + margin)
    return float(low)


def _point(panel: Axes, x: float, y: float, floor: float, style: Style, size: float) -> None:
    """A marker; hollow, pinned to the lower edge and with its value beside it where it lies below the floor."""
    if y >= floor:
        panel.plot(x, y, style.marker, color=style.colour, markersize=size, alpha=0.85, markeredgewidth=0.3, mec="white")
        return
    panel.plot(x, floor, style.marker, color=style.colour, markersize=size, markerfacecolor="white", clip_on=False)
    # Values of pinned markers that stand close together go above each other, on white, as lines pass there.
    close = sum(abs(text.xy[0] - x) < 0.12 * x for text in panel.texts if isinstance(text, Annotation))
    panel.annotate(
        f"↓{y:.0f}",
        (x, floor),
        (0, 3 + size / 2 + 7 * close),
        textcoords="offset points",
        ha="center",
        color=style.colour,
        fontsize=6.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.4},
        zorder=5,
    )


def _retention_panel(panel: Axes, means: DataFrame, labels: Labels) -> None:
    """Lines of methods with intervals, bands of controls, the uncompressed model at 100."""
    look, floor = styles(labels.methods), _floor(panel, means)
    for row in means[means["method"].isin(CONTROLS)].itertuples():
        low, high = float(row.retention_low), float(row.retention_high)  # type: ignore[arg-type]
        # A band thinner than a line could not be seen: perplexities of controls have next to no interval.
        panel.axhspan(low, high, **_band(str(row.method)))
    panel.axhline(100, color="black", linewidth=0.6, linestyle=(0, (4, 2)))
    found = _compressed(means, labels)
    methods = [m for m in labels.methods if m in set(found["method"])]
    for offset, method in zip(np.linspace(-DODGE, DODGE, max(2, len(methods))), methods):
        line = found[(found["method"] == method) & found["retention"].notna()].sort_values("ratio_reached")
        x, y = line["ratio_reached"].to_numpy() * 10**offset, line["retention"].to_numpy()
        style, bars = look[method], np.abs(line[["retention_low", "retention_high"]].to_numpy().T - y)
        panel.plot(x, np.maximum(y, floor), color=style.colour, linewidth=0.9, alpha=0.8)
        seen = y >= floor
        panel.errorbar(x[seen], y[seen], bars[:, seen], fmt="none", ecolor=style.colour, elinewidth=0.8, capsize=1.2)
        for at, value in zip(x, y):
            _point(panel, at, value, floor, style, 4.2)
    panel.set_xscale("log")
    everywhere = [*labels.ratios, *found["ratio_reached"].dropna()]
    panel.set_xlim(min(everywhere) / 1.18, max(everywhere) * 1.22)
    panel.xaxis.set_major_locator(FixedLocator(labels.ratios))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.xaxis.set_minor_locator(NullLocator())


def _band(control: str) -> dict[str, Any]:
    """A control's band: the mean row's is filled and the random rows' hatched, as the two often overlap."""
    colour = CONTROLS[control].colour
    filled = control == "mean"
    return {
        "facecolor": colour if filled else "none",
        "edgecolor": colour,
        "hatch": "" if filled else "//////",
        "linewidth": 0.8,
    }


def _marker_size(labels: Labels, ratio: float) -> float:
    """Bigger at higher ratios, in the steps of the study."""
    return 3.4 + 1.8 * labels.ratios.index(labels.block(ratio))


def _method_handles(frame: DataFrame, labels: Labels, line: bool = True) -> list[Any]:
    """Legend entries of the methods found, in the order of the study."""
    look, found = styles(labels.methods), _compressed(frame, labels)
    if "retention" in found:
        found = found[found["retention"].notna()]
    return [
        Line2D([], [], color=look[m].colour, marker=look[m].marker, markersize=4.2, linewidth=0.9 * line, label=a.label)
        for m, a in labels.methods.items()
        if m in set(found["method"])
    ]


def _control_handles(means: DataFrame, labels: Labels) -> list[Any]:
    """Legend entries of the uncompressed model and of the controls' bands."""
    handles: list[Any] = [Line2D([], [], color="black", linewidth=0.6, linestyle=(0, (4, 2)), label="uncompressed")]
    for method in CONTROLS:
        if method in set(means["method"]):
            handles.append(Patch(label=labels.methods[method].label, **_band(method)))
    return handles


def _legend(figure: Figure, methods: list[Any], others: list[Any], columns: int) -> None:
    """One legend under all panels; methods fill whole columns, so that the others start one."""
    rows = math.ceil((len(methods) + len(others)) / columns)
    blank = [Line2D([], [], linestyle="", label=" ")] * (-len(methods) % rows if rows and others else 0)
    if len(methods) + len(blank) + len(others) > rows * columns:
        blank = []
    handles = methods + blank + others
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, handlelength=1.8, columnspacing=1.2, labelspacing=0.35
    )
