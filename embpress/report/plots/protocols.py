"""Retention of each method by the protocols of one task."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ...analysis.protocols import protocol_heads
from ...analysis.scores import Labels
from ..tables.rows import PROTOCOLS
from .panels import DASHED, drawn, legend
from .style import PAGE, SPARE, new_figure

LINE = 0.09
"""Height of a point with its interval in inches."""


@drawn
def retention_by_protocol(compared: DataFrame, labels: Labels) -> Figure:
    """Retention with its 95 % interval, a panel for each task and target ratio, a line for each
    method, a colour for each protocol.

    Args:
        compared: of `compare_protocols`; at least one row.
        labels: of the same study.
    """
    panels = [(key, rows) for key, rows in compared.groupby(["family", "block"], sort=False)]
    heads = _heads(compared, labels)
    looks = dict(zip(dict.fromkeys(heads.values()), _styles(len(set(heads.values())))))
    heights = [rows["method"].nunique() * (len(looks) + 1) for _, rows in panels]
    figure = new_figure(PAGE, LINE * sum(heights) + 0.4 * len(panels) + 0.7)
    axes = figure.subplots(
        len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": heights}, sharex=True
    )
    for panel, ((family, ratio), rows) in zip(axes.flat, panels):
        _panel(panel, rows, labels, heads, looks)
        about = labels.tasks[family]
        panel.set_title(f"{about.label}, {about.metric_label}, {ratio:g}×", loc="left")
    axes[-1, 0].set_xlabel("retention (%)")
    handles = [
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=4, label=head)
        for head, (colour, marker) in looks.items()
    ]
    legend(figure, handles, [Line2D([], [], label="uncompressed", **DASHED)], columns=2)
    return figure


def _heads(compared: DataFrame, labels: Labels) -> dict[str, str]:
    """Name in the legend of each task."""
    heads: dict[str, str] = {}
    for _, rows in compared.groupby("family", sort=False):
        heads |= protocol_heads(rows, labels, PROTOCOLS)
    return heads


def _styles(count: int) -> list[tuple[str, str]]:
    """A colour and a marker for each of some protocols."""
    return [(SPARE[i % len(SPARE)].colour, "osD^vP<>*hXd"[i % 12]) for i in range(count)]


def _panel(
    panel: Axes,
    rows: DataFrame,
    labels: Labels,
    heads: dict[str, str],
    looks: dict[str, tuple[str, str]],
) -> None:
    """Draw the methods from the top down, their protocols below each other."""
    methods = list(dict.fromkeys(rows["method"]))
    places = np.linspace(-0.28, 0.28, max(2, len(looks)))
    offsets = dict(zip(looks, places))
    for row in rows.dropna(subset=["retention"]).itertuples():
        head = heads[str(row.task)]
        colour, marker = looks[head]
        value = float(row.retention)  # type: ignore[arg-type]
        bars = [[value - float(row.retention_low)], [float(row.retention_high) - value]]  # type: ignore[arg-type]
        panel.errorbar(
            value,
            methods.index(str(row.method)) + offsets[head],
            xerr=np.abs(bars),
            fmt=marker,
            color=colour,
            markersize=3.4,
            elinewidth=0.8,
        )
    panel.axvline(100, **DASHED)
    names = [labels.methods[str(method)].label for method in methods]
    panel.set_yticks(range(len(methods)), names, fontsize=6.5)
    panel.set_ylim(len(methods) - 0.5, -0.5)
