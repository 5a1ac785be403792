"""Figures of a made-up study: same bytes, same colours, nothing lost below the axis."""

import matplotlib
import pandas
import pytest
from matplotlib.colors import to_hex

from embpress.plot_style import FIXED, PAGE, save, styles
from embpress.plots import error_by_decile, error_vs_ratio, error_vs_score, retention_by_ratio, retention_of_task

from .fake_study import METHODS, RATIOS, fake_labels, fake_scores

SCORES, LABELS = fake_scores(), fake_labels()


def fake_deciles(models=("minilm",)):
    ratios = {"int8": [3.9], "int4": [4.0], "random": [None], "identity": [None], "mean": [None]}
    rows = [
        dict(
            model=model,
            method=method,
            ratio_asked=ratio,
            seed=0,
            decile=decile,
            relative_error=0.1 + decile / 20,
            mean_cosine=0.9,
        )
        for model in models
        for method in METHODS
        for ratio in ratios.get(method, RATIOS)
        for decile in range(1, 11)
    ]
    return pandas.DataFrame(rows)


def fake_bounds(models=("MiniLM-L6", "multilingual E5-small", "SmolLM2-135M")):
    ratios = [2.0, 4.0, 8.0, 16.0, 32.0, 64.0]
    rows = [
        dict(model=model, seed=seed, weighting=weighting, ratio=ratio, relative_error=scale * (1 - 2 / (ratio + 1)))
        for model in models
        for seed in (0, 1)
        for weighting, scale in (("uniform", 0.6), ("counts", 0.3))
        for ratio in ratios
    ]
    return pandas.DataFrame(rows)


FIGURES = {
    "retention": lambda: retention_by_ratio(SCORES, LABELS),
    "task": lambda: retention_of_task(SCORES, LABELS, "wikitext"),
    "error_vs_score": lambda: error_vs_score(SCORES, LABELS),
    "error_vs_ratio": lambda: error_vs_ratio(SCORES, fake_bounds(), LABELS),
    "error_by_decile": lambda: error_by_decile(fake_deciles(), LABELS),
}


@pytest.mark.parametrize("name", FIGURES)
def test_two_runs_write_the_same_bytes(name, tmp_path):
    save(FIGURES[name](), tmp_path / "a")
    # The user's own settings must not leak in.
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20}):
        save(FIGURES[name](), tmp_path / "b")
    for kind in ("pdf", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()


def test_panels_are_titled_and_ticks_stand_at_the_ratios():
    figure = retention_by_ratio(SCORES, LABELS)
    assert figure.get_size_inches()[0] == PAGE
    assert [a.get_title() for a in figure.axes] == [f"{t.label}, {t.metric_label}" for t in LABELS.tasks.values()]
    assert list(figure.axes[0].get_xticks()) == RATIOS


def test_a_score_far_below_the_floor_stays_visible():
    scores = SCORES.copy()
    pick = (scores["task"] == "rotten") & (scores["method"] == "kronecker") & (scores["ratio_asked"] == 25)
    scores.loc[pick, ["retention", "retention_low", "retention_high"]] = [-300.0, -310.0, -290.0]
    for figure in (retention_by_ratio(scores, LABELS), error_vs_score(scores, LABELS)):
        assert figure.axes[0].get_ylim()[0] > 0
        assert [t.get_text() for t in figure.axes[0].texts] == ["↓-300"]


def test_colours_are_the_methods_own_in_every_figure():
    colour = {t.get_text(): to_hex(h.get_color()) for f in FIGURES.values() for t, h in _entries(f())}
    for method in FIXED.keys() & LABELS.methods.keys():
        assert colour[LABELS.methods[method].label] == FIXED[method].colour.lower()


def _entries(figure):
    legend = figure.legends[0]
    return [(t, h) for t, h in zip(legend.get_texts(), legend.legend_handles) if hasattr(h, "get_color")]


def test_unknown_methods_get_a_stable_style():
    some = styles(["svd", "zeta", "alpha"])
    assert some["svd"] == FIXED["svd"]
    assert some == styles(["alpha", "zeta", "svd"])
    assert len({(s.colour, s.marker) for s in styles([*FIXED, "alpha", "beta", "zeta"]).values()}) == len(FIXED) + 3


def test_deciles_have_a_panel_a_ratio_and_checkpoint():
    figure = error_by_decile(fake_deciles(("minilm", "e5")), LABELS)
    assert [a.get_title() for a in figure.axes[:3]] == ["asked 4×, e5", "asked 10×, e5", "asked 25×, e5"]
    assert len(figure.axes) == 6
    assert len(figure.axes[0].lines) == 8


def test_errors_have_a_row_a_checkpoint_and_its_bound_once():
    figure = error_vs_ratio(SCORES, fake_bounds(), LABELS)
    # Rotten Tomatoes and Similarity name the same checkpoint here.
    assert [a.get_title() for a in figure.axes[::2]] == [
        f"{model}, plain" for model in ("multilingual E5-small", "MiniLM-L6", "SmolLM2-135M")
    ]
    for panel, scale in zip(figure.axes[:2], (0.6, 0.3)):
        (bound,) = [line for line in panel.lines if line.get_color() == "black" and line.get_marker() == "None"]
        assert bound.get_ydata()[0] == pytest.approx(scale / 3)
        low, high = panel.get_ylim()
        assert all(low < y < high for line in panel.lines if line is not bound for y in line.get_ydata())


def test_a_study_without_bounds_or_scores_still_draws():
    assert error_vs_ratio(SCORES, fake_bounds().head(0), LABELS).axes
    assert error_vs_ratio(SCORES[SCORES["method"] == "identity"], fake_bounds(), LABELS).axes
