"""Learning curves of what was trained."""

from itertools import cycle

from matplotlib.figure import Figure
from pandas import DataFrame

from ..plot_style import PAGE, SPARE, new_figure
from .panels import drawn

NOTHING = "no training was recorded: these checkpoints are from an earlier version"


@drawn
def learning_curves(rows: DataFrame) -> Figure:
    """Loss by epoch left, and the score of what was trained right where one was measured; a line a checkpoint and seed.

    Args:
        rows: checkpoint, seed, epoch, loss and, where known, score; any may be missing.
    """
    scored = "score" in rows and rows["score"].notna().any()
    figure = new_figure(PAGE if scored else PAGE / 2, 2.3)
    axes = list(figure.subplots(1, 1 + scored, squeeze=False).flat)
    for panel, column in zip(axes, ("loss", "score")):
        panel.set(xlabel="epoch", ylabel={"loss": "training loss", "score": "score"}[column])
        for name, style in zip(dict.fromkeys(rows["checkpoint"]), cycle(SPARE)):
            for i, (_, run) in enumerate(rows[rows["checkpoint"] == name].groupby("seed")):
                known = run.dropna(subset=[column]).sort_values("epoch")
                panel.plot(known["epoch"], known[column], style.marker + "-", color=style.colour, label=None if i else name)
    if rows.empty:
        axes[0].text(0.5, 0.5, NOTHING, transform=axes[0].transAxes, ha="center", va="center", wrap=True)
        return figure
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
