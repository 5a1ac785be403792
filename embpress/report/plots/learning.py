"""Learning curves of fine-tuned models and students."""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from pandas import DataFrame

from ...analysis.scores import Labels
from ...study.artefact import FINETUNED, ON_TEXT, STUDENTS
from .panels import SMALL, axis_labels, drawn, grid
from .style import SPARE, Style, styles

NOTHING = "no training logs: an earlier version trained these checkpoints"
LABEL = 0.11
"""Height of a line's label in inches."""
DASHES = ["-", (0, (4, 1.2)), (0, (1, 1)), (0, (4, 1, 1, 1))]
"""Line styles of ratios."""
WIDE = 8
"""Losses that differ by a larger factor, as distillation losses do, are drawn on a log axis."""


@drawn
def learning_curves(rows: DataFrame, labels: Labels) -> Figure:
    """Training loss by epoch, mean and range over seeds; points are the loss on held-out rows.

    One panel has the fine-tuned models, a line for each task. Each stage and task of students has a
    panel, a line for each variant and ratio.

    Args:
        rows: of `read_logs`.
        labels: of the same study.
    """
    parts = [("fine-tuning", rows[rows["stage"] == FINETUNED])]
    for stage, what in ((ON_TEXT, "training on text"), (STUDENTS, "students")):
        of_stage = rows[rows["stage"] == stage]
        parts += [
            (f"{about.label}: {what}", of_stage[of_stage["task"] == t])
            for t, about in labels.tasks.items()
        ]
    shown = [(title, _curves(own, labels)) for title, own in parts if len(own)]
    height = max([1.9, *(0.5 + LABEL * len(curves) for _, curves in shown)])
    figure, axes = grid(max(1, len(shown)), height)
    if not shown:
        axes[0].text(
            0.5, 0.5, NOTHING, transform=axes[0].transAxes, ha="center", va="center", wrap=True
        )
    for panel, (title, curves) in zip(axes, shown):
        _panel(panel, curves, LABEL / (height - 0.5))
        panel.set_title(title)
    axis_labels(axes, 2, "epoch", "training loss")
    return figure


Curve = tuple[str, Style, object, DataFrame]
"""Label, style, line style, and the rows of all seeds."""


def _curves(own: DataFrame, labels: Labels) -> list[Curve]:
    """The curves of one panel: checkpoints by task, or students by method and ratio."""
    if own["ratio"].isna().all():
        looks = zip(labels.tasks.items(), cycle(SPARE))
        return [
            (a.label, look, "-", own[own["task"] == t])
            for (t, a), look in looks
            if t in set(own["task"])
        ]
    look = styles(labels.methods)
    ratios = sorted(set(own["ratio"]))
    return [
        (f"{about.label} {ratio:g}×", look[m], DASHES[ratios.index(ratio) % len(DASHES)], run)
        for m, about in labels.methods.items()
        for ratio, run in own[own["method"] == m].groupby("ratio")
    ]


def _panel(panel: Axes, curves: list[Curve], gap: float) -> None:
    """Draw curves with labels at the right, at least `gap` of the panel's height apart."""
    ends = []
    losses = []
    for label, look, dashes, run in curves:
        loss = run.groupby("epoch")["loss"].agg(["mean", "min", "max"])
        panel.plot(loss.index, loss["mean"], color=look.colour, linestyle=dashes, linewidth=1)  # type: ignore[arg-type]
        panel.fill_between(
            loss.index, loss["min"], loss["max"], color=look.colour, alpha=0.15, linewidth=0
        )
        held_out = run.groupby("epoch")["held_out_loss"].mean().dropna()
        # Points at the end of the axis are not clipped. An unclipped line without points would
        # disturb the layout.
        panel.plot(
            held_out.index, held_out, "o", color=look.colour, markersize=3, clip_on=held_out.empty
        )
        ends.append((label, look.colour, loss.index[-1], loss["mean"].iloc[-1]))
        losses += [*loss["mean"], *held_out]
    if min(losses) > 0 and max(losses) > WIDE * min(losses):
        panel.set_yscale("log")
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(0, max(x for *_, x, _ in ends))
    panel.set_ylim(panel.get_ylim())
    to_axes = panel.transScale + panel.transLimits
    ends.sort(key=lambda end: end[3])
    levels = spread([float(to_axes.transform((x, y))[1]) for *_, x, y in ends], gap)
    for (label, colour, x, y), level in zip(ends, levels):
        line = {
            "arrowstyle": "-",
            "color": colour,
            "linewidth": 0.4,
            "shrinkA": 0,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        }
        place = {
            "xytext": (1.04, level),
            "textcoords": "axes fraction",
            "arrowprops": line,
            "annotation_clip": False,
        }
        panel.annotate(label, (x, y), color=colour, **(SMALL | place))


def spread(heights: list[float], gap: float) -> list[float]:
    """Heights from 0 to 1, in order, moved as little as needed to be `gap` apart.

    Below 0 where there are too many.
    """
    moved = np.array(heights)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    moved[-1:] = np.minimum(moved[-1:], 1)
    for i in reversed(range(len(moved) - 1)):
        moved[i] = min(moved[i], moved[i + 1] - gap)
    return moved.tolist()
