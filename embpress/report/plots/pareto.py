"""Pareto fronts: the highest retention of a score at each size."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import BboxBase
from pandas import DataFrame

from ...analysis.scores import Labels, TaskLabel
from .panels import (
    DASHED,
    SMALL,
    compressed,
    drawn,
    grid,
    legend,
    main_scores,
    method_handles,
    tasks_in,
    title_of,
)
from .style import styles

BITS_PER_MB = 8e6
SAME_SIZE = 1.05
"""Ratios that differ by a smaller factor count as equal.

Methods exceed their target ratio by different amounts, as they round sizes.
"""


class Point(NamedTuple):
    """A method at its achieved ratio: retention in %, or a perplexity, with its interval."""

    method: str
    ratio: float
    value: float
    low: float
    high: float


@drawn
def pareto(scores: DataFrame, sizes: DataFrame, labels: Labels) -> Figure:
    """Retention, or perplexity on a log axis, by ratio (below) and megabytes on disk (above).

    A panel for each task. The line joins the Pareto-optimal points; other points are faded, and cut
    off far below the line. Bars: 95 % intervals.

    Args:
        scores: the table of scores.
        sizes: results/sizes.csv, for the size of the dense embedding of each checkpoint.
        labels: of the same study.
    """
    means = main_scores(scores, labels)
    shown = compressed(means, labels)
    tasks = tasks_in(shown, labels)
    figure, axes = grid(len(tasks), 2.1)
    columns = min(2, len(axes))
    fronts = []
    for i, (panel, task) in enumerate(zip(axes, tasks)):
        about = labels.tasks[task]
        own = means[means["task"] == task]
        weights = sizes[
            (sizes["method"] == "") & (sizes["model"] == (about.checkpoint or about.model))
        ]
        fronts.append(_panel(panel, own, about, labels))
        panel.set_title(title_of(labels, task), pad=4)
        if len(weights):
            megabyte_axis(panel, float(weights["bits"].iloc[0]) / BITS_PER_MB)
        if i + columns >= len(axes):
            panel.set_xlabel("compression ratio; above: MB of the embedding")
    lines = [
        Line2D([], [], color="black", linewidth=0.8, label="Pareto front"),
        Line2D([], [], label="uncompressed", **DASHED),
    ]
    legend(figure, method_handles(shown, labels, line=False), lines, columns=4)
    # The layout must be known to see where labels would overlap.
    figure.draw_without_rendering()
    for panel, best in zip(axes, fronts):
        _names(panel, best, labels)
    return figure


def front(points: list[Point], higher: bool) -> list[Point]:
    """The points that no other one beats at the same size or a smaller one, largest ratio first."""

    def beats(other: Point, point: Point) -> bool:
        better = other.value > point.value if higher else other.value < point.value
        return better and other.ratio * SAME_SIZE >= point.ratio

    best = [point for point in points if not any(beats(other, point) for other in points)]
    return sorted(best, key=lambda point: -point.ratio)


def _points(rows: Iterable[Any], about: TaskLabel) -> list[Point]:
    """Points with retention, or with the score itself where lower is better.

    The interval of such a score follows from that of its retention.
    """
    if about.higher_is_better:
        return [
            Point(r.method, r.achieved_ratio, r.retention, r.retention_low, r.retention_high)
            for r in rows
        ]
    return [
        Point(
            r.method,
            r.achieved_ratio,
            r.value,
            *(
                100 * r.uncompressed_value / max(e, 1e-9)
                for e in (r.retention_high, r.retention_low)
            ),
        )
        for r in rows
    ]


def _panel(panel: Axes, means: DataFrame, about: TaskLabel, labels: Labels) -> list[Point]:
    """Draw all methods of one task and the Pareto front, which is returned."""
    rows = compressed(means, labels).dropna(subset=["achieved_ratio", "retention"])
    look = styles(labels.methods)
    points = _points(rows.itertuples(), about)
    best = front(points, about.higher_is_better)
    for point in points:
        style = look[point.method]
        strong = point in best
        alpha, size = (1.0, 5.0) if strong else (0.35, 3.6)
        bars = np.abs([[point.value - point.low], [point.high - point.value]])
        panel.errorbar(
            point.ratio,
            point.value,
            bars,
            fmt="none",
            ecolor=style.colour,
            elinewidth=0.8,
            alpha=alpha,
        )
        panel.plot(
            point.ratio,
            point.value,
            style.marker,
            color=style.colour,
            markersize=size,
            mec="white",
            mew=0.3,
            alpha=alpha,
        )
    panel.plot(
        [p.ratio for p in best], [p.value for p in best], color="black", linewidth=0.8, zorder=1.5
    )
    panel.axhline(
        100 if about.higher_is_better else float(means["uncompressed_value"].max()), **DASHED
    )
    _limits(panel, best, about, float(means["uncompressed_value"].max()))
    _ratios(panel, [p.ratio for p in points], labels)
    panel.set_ylabel("retention (%)" if about.higher_is_better else f"{about.metric_label} (log)")
    return best


def _names(panel: Axes, best: list[Point], labels: Labels) -> None:
    """Write each method's name once, at its largest ratio on the front, where it hides no other."""
    look = styles(labels.methods)
    named = dict.fromkeys(point.method for point in best)
    middle = math.prod(panel.get_xlim()) ** 0.5
    taken = list[BboxBase]()
    for i, method in enumerate(named):
        point = next(p for p in best if p.method == method)
        side: Any = {"x": 5, "ha": "left"} if point.ratio < middle else {"x": -5, "ha": "right"}
        for height in (-9, 9, -18, 18) if i % 2 else (9, -9, 18, -18):
            place = {
                "xytext": (side["x"], height),
                "ha": side["ha"],
                "color": look[method].colour,
                "zorder": 4,
            }
            name = panel.annotate(
                labels.methods[method].label, (point.ratio, point.value), **place, **SMALL
            )
            box = name.get_window_extent()
            if (
                panel.bbox.y0 <= box.y0
                and box.y1 <= panel.bbox.y1
                and not box.count_overlaps(taken)
            ):
                taken.append(box)
                break
            name.remove()


def _limits(panel: Axes, best: list[Point], about: TaskLabel, whole: float) -> None:
    """Set y limits around the front with its intervals and the uncompressed model."""
    if about.higher_is_better:
        low = min([95.0, *(p.low for p in best)])
        high = max([100.0, *(p.high for p in best)])
        panel.set_ylim(low - 0.35 * (high - low), high + 0.15 * (high - low))
        return
    panel.set_yscale("log")
    high = max([2 * whole, *(p.high for p in best)])
    # The axis is inverted: better perplexities, which are lower, are at the top.
    panel.set_ylim(high * (high / whole) ** 0.35, whole / (high / whole) ** 0.15)
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * whole else (1,)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _ratios(panel: Axes, ratios: list[float], labels: Labels) -> None:
    """Set up the lower axis with the compression ratios."""
    everywhere = [*labels.ratios, *ratios]
    panel.set_xscale("log")
    panel.set_xlim(min(everywhere) / 1.18, max(everywhere) * 1.22)
    panel.xaxis.set_major_locator(FixedLocator(labels.ratios))
    panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}×"))
    panel.xaxis.set_minor_locator(NullLocator())


def megabyte_axis(panel: Axes, dense: float) -> None:
    """Add the upper axis with the stored megabytes, of `dense` megabytes uncompressed."""

    def convert(values: Any) -> Any:
        return dense / np.maximum(values, 1e-9)

    top = panel.secondary_xaxis("top", functions=(convert, convert))
    top.tick_params(labelsize=6.5, pad=1, length=2, width=0.6)
    top.spines["top"].set_linewidth(0.6)
    top.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    top.xaxis.set_minor_locator(NullLocator())
