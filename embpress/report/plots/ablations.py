"""Bar charts of the variants of one method."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ...analysis.scores import Labels
from ..tables.table import number
from .panels import DASHED, SMALL, drawn, legend
from .style import PAGE, new_figure, styles

BAR = 0.115
"""Height of a bar in inches."""


@drawn
def ablation_bars(variants: DataFrame, labels: Labels) -> Figure:
    """Retention of variants with 95 % intervals, grouped by task and target ratio.

    A panel for each method.

    Args:
        variants: of `compare_variants`; at least one row.
        labels: of the same study.
    """
    bases = list(dict.fromkeys(variants["base"]))
    heights = [
        len(own := variants[variants["base"] == base])
        + own.groupby(["task", "target_ratio"]).ngroups
        for base in bases
    ]
    figure = new_figure(PAGE, BAR * sum(heights) + 0.35 * len(bases) + 0.5)
    axes = figure.subplots(
        len(bases), 1, squeeze=False, gridspec_kw={"height_ratios": heights}, sharex=True
    )
    for panel, base in zip(axes.flat, bases):
        _panel(panel, variants[variants["base"] == base], labels)
        panel.set_title(labels.methods[base].label if base in labels.methods else base, loc="left")
    axes[-1, 0].set(
        xlabel="retention (%)", xlim=(min(0.0, 1.05 * float(variants["retention_low"].min())), 145)
    )
    dashed = Line2D([], [], label="uncompressed", **DASHED)
    legend(figure, [], [dashed], columns=1)
    return figure


def _panel(panel: Axes, own: DataFrame, labels: Labels) -> None:
    """Draw the groups from the top down, a bar for each variant with its label and retention."""
    look = styles(labels.methods)
    place = 0.0
    ticks = []
    names = []
    for (task, ratio), group in own.groupby(["task", "target_ratio"], sort=False):
        about = labels.tasks[str(task)]
        middle = place + (len(group) - 1) / 2
        ticks.append(middle)
        names.append(f"{about.label}\n{about.metric_label}, {ratio:g}×")
        for row in group.itertuples():
            left = float(row.retention)  # type: ignore[arg-type]
            bars = np.abs([[left - float(row.retention_low)], [float(row.retention_high) - left]])  # type: ignore[arg-type]
            if not np.isnan(left):
                panel.barh(place, left, height=0.8, color=look[str(row.method)].colour, alpha=0.75)
                panel.errorbar(
                    left, place, xerr=bars, fmt="none", ecolor="black", elinewidth=0.6, capsize=1.2
                )
            shown = "not reached" if np.isnan(left) else f"{left:.1f}"
            # The retention of a perplexity is often close to 0.
            if not about.higher_is_better and not np.isnan(left):
                shown += f" ({about.metric_label} {number(float(row.value))})"  # type: ignore[arg-type]
            end = 0.0 if np.isnan(left) else max(0.0, float(row.retention_high))  # type: ignore[arg-type]
            panel.annotate(
                f"{labels.methods[str(row.method)].label}: {shown}", (end, place), (3, 0), **SMALL
            )
            place += 1
        place += 1
    panel.axvline(100, **DASHED)
    panel.set_yticks(ticks, names, fontsize=6)
    panel.set_ylim(place - 1.3, -0.7)
    panel.set_xticks([0, 25, 50, 75, 100])
    panel.grid(axis="y", visible=False)
