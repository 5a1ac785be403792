"""Spectra of embedding matrices, with the rank of two factors at each ratio."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from pandas import DataFrame

from ...analysis.scores import Labels
from .panels import SMALL, axis_labels, drawn, grid


def rank_bought(rows: int, dims: int, ratio: float) -> int:
    """The largest rank whose two fp32 factors, k (V + d) floats, keep a ratio."""
    return min(int(rows * dims / ratio / (rows + dims)), dims)


@drawn
def spectra(values: DataFrame, labels: Labels) -> Figure:
    """Singular values relative to the largest, with a line at the rank of each ratio.

    A panel for each checkpoint. Each line has the share of the energy (squared norm) it keeps.

    Args:
        values: results/spectra.csv.
        labels: of the same study, for the ratios.
    """
    models = list(dict.fromkeys(values["model"]))
    figure, axes = grid(len(models), 1.9)
    for panel, model in zip(axes, models):
        _panel(panel, values[values["model"] == model], labels)
        panel.set_title(model)
    axis_labels(axes, min(2, len(axes)), "component", "singular value / largest")
    return figure


def _panel(panel: Axes, own: DataFrame, labels: Labels) -> None:
    """Draw the spectrum of one matrix."""
    values = own["singular_value"].to_numpy()
    energy = own["singular_value"].to_numpy() ** 2
    rows = int(own["rows"].iloc[0])
    dims = int(own["dims"].iloc[0])
    panel.plot(own["component"], values / values[0], color="#0072B2")
    panel.set(yscale="log", xlim=(0, dims * 1.02))
    panel.yaxis.set_minor_formatter(NullFormatter())
    low, high = panel.get_ylim()
    for i, ratio in enumerate(labels.ratios):
        rank = rank_bought(rows, dims, ratio)
        if rank < 1:
            continue
        panel.axvline(rank, color="#D55E00", linewidth=0.7, linestyle=(0, (3, 2)))
        kept = 100 * energy[:rank].sum() / energy.sum()
        # From the top down, since ranks of high ratios are close to each other.
        height = high * (low / high) ** (0.04 + 0.11 * i)
        panel.annotate(
            f"{ratio:g}×: rank {rank}, {kept:.0f} %",
            (rank, height),
            (2, 0),
            color="#A34700",
            **SMALL,
        )
