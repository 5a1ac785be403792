"""Retention against cheap metrics of the matrix."""

from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from pandas import DataFrame

from ...analysis.predictors import PREDICTOR_METRICS, Predictors
from ...analysis.scores import Labels
from ..tables.rows import averaged_tasks
from .panels import compressed, drawn, legend, main_scores
from .style import PAGE, SPARE, new_figure

LOGARITHMIC = ("relative_error", "weighted_relative_error")
"""Metrics on a log axis, as they span decades."""


@drawn
def score_vs_predictors(scores: DataFrame, correlations: Predictors, labels: Labels) -> Figure:
    """Retention of all methods and ratios against each metric, with the rank correlation.

    A panel for each metric, with the weighted metric below. Tasks whose models are trained after
    compression are left out, as they are by the correlation.

    Args:
        scores: the table of scores.
        correlations: of the same scores.
        labels: of the same study.
    """
    rows = compressed(main_scores(scores, labels), labels).dropna(subset=["retention"])
    # The colour of a task does not depend on the other tasks.
    shown = averaged_tasks(scores, list(labels.tasks))
    look = {task: style for task, style in zip(labels.tasks, cycle(SPARE)) if task in shown}
    rows = rows[rows["task"].isin(look)]
    plain = [
        metric
        for metric in PREDICTOR_METRICS
        if metric != "achieved_ratio" and not metric.startswith("weighted_")
    ]
    figure = new_figure(PAGE, 3.2)
    axes = figure.subplots(2, len(plain), sharey=True)
    metrics = [*plain, *(f"weighted_{metric}" for metric in plain)]
    for panel, metric in zip(axes.flat, metrics):
        for task, style in look.items():
            own = rows[rows["task"] == task]
            panel.plot(
                own[metric],
                own["retention"],
                style.marker,
                color=style.colour,
                markersize=3,
                mec="white",
                mew=0.2,
                alpha=0.8,
            )
        _axes(panel, metric, rows[metric].to_numpy(dtype=float))
        name = (
            PREDICTOR_METRICS[metric][0]
            .replace(", weighted", ",\nweighted")
            .replace(" from the ", " from\nthe ")
        )
        panel.set_title(f"{name}\nρ = {correlations.pooled[metric].value:.2f}", fontsize=6.5)
    for panel in axes[:, 0]:
        panel.set_ylabel("retention (%)")
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=s.marker,
            color=s.colour,
            markersize=4,
            label=labels.tasks[t].label,
        )
        for t, s in look.items()
    ]
    legend(figure, handles, [], columns=4)
    return figure


def _axes(panel: Axes, metric: str, values: np.ndarray) -> None:
    """Few ticks; better values are on the right in every panel."""
    if metric in LOGARITHMIC and (values > 0).any():
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
    else:
        panel.locator_params(axis="x", nbins=4)
    panel.tick_params(labelsize=6)
    if not PREDICTOR_METRICS[metric][1]:
        panel.invert_xaxis()
