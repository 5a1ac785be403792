"""Style of all figures: sizes of an ACL page, fonts, and a colour and marker for each method."""

import importlib.util
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...files import partial_file

COLUMN = 3.03
PAGE = 6.3
"""Widths in inches of one column and of the page."""

FONTS = ["DejaVu Sans", "IPAexGothic"]
"""Each glyph comes from the first font that has it.

The second one, in the package matplotlib-fontja, has Japanese glyphs.
"""

RC: dict[Any, Any] = {
    **{"font.size": 7.5, "axes.titlesize": 7.5, "axes.labelsize": 7.5},
    **{
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.1,
    },
    **{
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "lines.markersize": 4,
        "axes.titlepad": 3,
    },
    **{
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
    },
    **{"grid.color": "#e4e4e4", "grid.linewidth": 0.5, "legend.frameon": False, "savefig.dpi": 250},
    # Fonts as TrueType: submission systems refuse Type 3.
    **{"pdf.fonttype": 42, "hatch.linewidth": 0.5},
}


@dataclass(frozen=True)
class Style:
    """Colour and marker of a method."""

    colour: str
    marker: str


# Okabe and Ito's palette, safe for the colour-blind, without its yellow, which fades on paper.
# Integers are greys.
FIXED = {
    "svd": Style("#0072B2", "o"),
    "int8": Style("#000000", "s"),
    "int4": Style("#7A7A7A", "D"),
    "integer": Style("#444444", "p"),
    "kronecker": Style("#E69F00", "^"),
    "b21": Style("#009E73", "v"),
    "b23": Style("#56B4E9", "P"),
    "lighttoken": Style("#D55E00", "X"),
    "t24": Style("#CC79A7", "*"),
    # From Paul Tol's muted palette, as are the spare ones.
    "ectcq": Style("#332288", "<"),
    "pq": Style("#117733", "h"),
    "prune": Style("#999933", "d"),
    "signs": Style("#882255", "H"),
}
SPARE_COLOURS = ["#44AA99", "#CC6677", "#AA4499", "#88CCEE", "#DDCC77"]
# For variants and methods that came later, in the order of their sorted keys; a fixed one only
# where its owner is not shown.
SPARE = [
    *(Style(c, m) for c, m in zip(SPARE_COLOURS, ["8", "<", ">", "h", ">"])),
    *(FIXED[name] for name in ("ectcq", "pq", "prune", "signs")),
    *(Style(c, m) for m in ("D", "p", "^", "o", "s") for c in SPARE_COLOURS),
]
CONTROLS = {"mean": Style("#DCDCDC", ""), "random": Style("#A8A8A8", "")}
"""Bands and lines of the controls."""


def styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for every method: fixed ones, then spare ones by sorted key.

    Pass all methods of a study every time, so that its figures agree.
    """
    keys = sorted(set(methods))
    taken = [FIXED[k] for k in keys if k in FIXED]
    unknown = [k for k in keys if k not in FIXED and k not in CONTROLS]
    free = [s for s in SPARE if s not in taken]
    spare = {k: free[i % len(free)] for i, k in enumerate(unknown)}
    return {k: FIXED.get(k) or CONTROLS.get(k) or spare[k] for k in keys}


def _fonts() -> list[str]:
    """FONTS, without the Japanese font where its package is not installed."""
    package = importlib.util.find_spec("matplotlib_fontja")
    if package is None or package.origin is None:
        return FONTS[:1]
    if FONTS[1] not in {font.name for font in font_manager.fontManager.ttflist}:
        font_manager.fontManager.addfont(Path(package.origin).with_name("fonts") / "ipaexg.ttf")
    return FONTS


@contextmanager
def styled() -> Iterator[None]:
    """Context in which figures are drawn, independent of the user's matplotlibrc."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC | {"font.family": _fonts()})
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, without pyplot and its global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> None:
    """Write `stem`.pdf and `stem`.png atomically, the same bytes in every run."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    with styled():
        for kind, metadata in (
            ("pdf", {"CreationDate": None, "Producer": None}),
            ("png", {"Software": None}),
        ):
            path = stem.parent / f"{stem.name}.{kind}"
            temporary = partial_file(path)
            figure.savefig(temporary, format=kind, metadata=metadata)  # type: ignore[arg-type]
            temporary.replace(path)
