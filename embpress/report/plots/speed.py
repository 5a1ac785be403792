"""Latency of lookups by size."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from pandas import DataFrame

from ...analysis.scores import Labels
from .panels import DASHED, axis_labels, compressed, drawn, legend, method_handles
from .style import PAGE, new_figure, styles


@drawn
def latency_vs_size(speed: DataFrame, labels: Labels) -> Figure:
    """Median time of a lookup by stored megabytes, with quartiles.

    A row for each model, a column for each number of rows.

    Args:
        speed: results/speed.csv.
        labels: of the same study.
    """
    models = list(dict.fromkeys(speed["model"]))
    sizes = sorted(set(speed["rows"]))
    figure = new_figure(PAGE, 0.9 + 1.6 * max(1, len(models)))
    axes = figure.subplots(
        max(1, len(models)), max(1, len(sizes)), sharex="row", sharey="col", squeeze=False
    )
    for line, model in zip(axes, models):
        for panel, size in zip(line, sizes):
            _panel(panel, speed[(speed["model"] == model) & (speed["rows"] == size)], labels)
            panel.set_title(f"{size:,} row{'s' * (size > 1)}")
    axis_labels(list(axes.flat), axes.shape[1], "MB of the embedding", "")
    for panel, model in zip(axes[:, 0], models):
        panel.set_ylabel(f"{model}\nµs a lookup")
    dense = [Line2D([], [], label="dense", **DASHED)]
    legend(figure, method_handles(compressed(speed, labels), labels), dense, columns=4)
    return figure


def _panel(panel: Axes, times: DataFrame, labels: Labels) -> None:
    """Draw one model and number of rows: a line for each method, and the dense lookup."""
    look = styles(labels.methods)
    for method in labels.methods:
        own = times[(times["method"] == method) & times["target_ratio"].notna()].sort_values(
            "bytes"
        )
        if not len(own):
            continue
        x = own["bytes"].to_numpy() / 1e6
        y = own["microseconds"].to_numpy()
        style = look[method]
        bars = np.abs(own[["low", "high"]].to_numpy().T - y)
        panel.errorbar(x, y, bars, fmt="none", ecolor=style.colour, elinewidth=0.7)
        panel.plot(
            x,
            y,
            color=style.colour,
            marker=style.marker,
            markersize=3.6,
            linewidth=0.8,
            mec="white",
            mew=0.3,
        )
    dense = times[times["target_ratio"].isna()]
    for time in dense["microseconds"]:
        panel.axhline(time, **DASHED)
    panel.set(xscale="log", yscale="log")
    for axis, steps in ((panel.xaxis, (1, 2, 5)), (panel.yaxis, (1,))):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())
