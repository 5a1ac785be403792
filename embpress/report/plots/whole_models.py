"""Retention of whole models by their compression ratio, and what papers published about others."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from pandas import DataFrame

from ...analysis.published import PublishedModel
from ...analysis.scores import Labels
from .panels import (
    SMALL,
    axis_labels,
    compressed,
    control_handles,
    drawn,
    grid,
    legend,
    main_scores,
    method_handles,
    tasks_in,
    title_of,
)
from .pareto import BITS_PER_MB, Point, front, megabyte_axis
from .retention import retention_panel

MARK: Any = {"color": "#555555", "marker": "D", "markersize": 3.6, "markerfacecolor": "white"}
PLACES = ((-4, -7, "right"), (-4, 5, "right"), (4, -3, "left"), (4, 0, "left"))
"""Offsets of the names of successive models of papers, and the side that they begin at."""
RATIO = "compression ratio of the whole model; above: MB"


@drawn
def retention_of_layers(
    scores: DataFrame,
    labels: Labels,
    modules: DataFrame | None = None,
    published: Sequence[PublishedModel] = (),
) -> Figure:
    """Retention of methods that compress layers, at the ratio of the whole model.

    A panel for each task. The black line joins the Pareto-optimal points.

    Args:
        scores: the table of scores.
        labels: of the same study.
        modules: results/modules.csv, for the size of each dense model.
        published: whole models of papers, which stand in panels of scores other than perplexity.
    """
    means = main_scores(scores, labels)
    shown = compressed(means, labels, compresses_layers=True)
    shown = shown.assign(achieved_ratio=shown["model_ratio"])
    tasks = tasks_in(shown, labels)
    figure, axes = grid(len(tasks), 2.1)
    for panel, task in zip(axes, tasks):
        about = labels.tasks[task]
        rows = shown[shown["task"] == task]
        retention_panel(panel, means[means["task"] == task], rows, labels)
        _front(panel, rows)
        if about.higher_is_better:
            _published(panel, published)
        panel.set_title(title_of(labels, task), pad=4)
        if modules is not None:
            _megabytes(panel, modules[modules["model"] == (about.checkpoint or about.model)])
    axis_labels(axes, 2, RATIO if modules is not None else RATIO.split(";")[0], "retention (%)")
    others = control_handles(means[means["task"].isin(tasks)], labels)
    others.append(Line2D([], [], color="black", linewidth=0.8, label="Pareto front"))
    if published:
        name = f"published on {', '.join(dict.fromkeys(p.base for p in published))}, distilled"
        others.append(Line2D([], [], linestyle="", label=name, **MARK))
    legend(figure, method_handles(shown, labels), others, columns=2)
    return figure


def _front(panel: Axes, rows: DataFrame) -> None:
    """Join the points that no other one beats at the same size or a smaller one."""
    kept = rows.dropna(subset=["achieved_ratio", "retention"])
    points = [
        Point(r.method, r.achieved_ratio, r.retention, r.retention_low, r.retention_high)  # type: ignore[arg-type]
        for r in kept.itertuples()
    ]
    best = front(points, higher=True)
    panel.plot(
        [p.ratio for p in best], [p.value for p in best], color="black", linewidth=0.8, zorder=1.5
    )


def _published(panel: Axes, published: Sequence[PublishedModel]) -> None:
    """Mark the models of papers, with their names."""
    for model, (x, y, side) in zip(published, cycle(PLACES)):
        panel.plot(model.ratio, model.retention, zorder=3, **MARK)
        at = (model.ratio, model.retention)
        look = {"xytext": (x, y), "ha": side, "color": MARK["color"], "zorder": 4}
        panel.annotate(model.name, at, **look, **SMALL)
    low, high = panel.get_xlim()
    ratios = [model.ratio for model in published]
    # Room for the names on both sides of the marks.
    panel.set_xlim(min([low, *(r / 2 for r in ratios)]), max([high, *(r * 2.2 for r in ratios)]))
    low, high = panel.get_ylim()
    panel.set_ylim(min([low, *(model.retention - 1 for model in published)]), high)


def _megabytes(panel: Axes, modules: DataFrame) -> None:
    """The upper axis, of a dense model whose parameters the table of its matrices sums up."""
    variants = modules.groupby(["method", "target_ratio", "seed"], dropna=False)
    if len(modules):
        parameters = float(variants["dense_parameters"].sum().max())
        megabyte_axis(panel, 32 * parameters / BITS_PER_MB)
