"""Figures of a made-up study: same bytes, same colours, nothing lost below the axis."""

import dataclasses
import warnings

import matplotlib
import pandas
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from embpress.analysis.ablations import compare_variants
from embpress.analysis.predictors import correlate_metrics
from embpress.analysis.published import PublishedModel
from embpress.methods.svd import SVD
from embpress.report.plots import (
    ablation_bars,
    error_by_decile,
    error_vs_ratio,
    error_vs_score,
    latency_vs_size,
    learning_curves,
    pareto,
    retention_by_ratio,
    retention_of_layers,
    retention_of_task,
    score_vs_predictors,
    spectra,
)
from embpress.report.plots.learning import NOTHING, spread
from embpress.report.plots.panels import title_of
from embpress.report.plots.pareto import Point, front
from embpress.report.plots.spectra import rank_bought
from embpress.report.plots.style import FIXED, PAGE, save, styles

from ..fake_study import (
    METHODS,
    RATIOS,
    fake_ablations,
    fake_labels,
    fake_scores,
    fake_sizes,
    fake_spectra,
    fake_speed,
    fake_training,
)

SCORES = fake_scores()
LABELS = fake_labels()


def fake_deciles(models=("minilm",)):
    ratios = {"int8": [3.9], "int4": [4.0], "random": [None], "identity": [None], "mean": [None]}
    rows = [
        dict(
            model=model,
            method=method,
            target_ratio=ratio,
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
        dict(
            model=model,
            seed=seed,
            weighting=weighting,
            ratio=ratio,
            relative_error=scale * (1 - 2 / (ratio + 1)),
        )
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
    "pareto": lambda: pareto(SCORES, fake_sizes(), LABELS),
    "latency_vs_size": lambda: latency_vs_size(fake_speed(), LABELS),
}
OTHERS = {
    "predictors": lambda: score_vs_predictors(SCORES, correlate_metrics(SCORES, LABELS), LABELS),
    "spectra": lambda: spectra(fake_spectra(), LABELS),
    "ablations": lambda: ablation_bars(compare_variants(*fake_ablations()), fake_ablations()[1]),
    "learning_curves": lambda: learning_curves(fake_training(), LABELS),
}
"""Figures whose colours do not stand for methods, or that have no legend of methods."""


@pytest.mark.parametrize("name", FIGURES | OTHERS)
def test_two_runs_write_the_same_bytes(name, tmp_path):
    draw = (FIGURES | OTHERS)[name]
    save(draw(), tmp_path / "a")
    # The user's own settings must not leak in.
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20}):
        save(draw(), tmp_path / "b")
    for kind in ("pdf", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]
    assert b"CreationDate" not in (tmp_path / "a.pdf").read_bytes()


def test_panels_are_titled_and_ticks_stand_at_the_ratios():
    figure = retention_by_ratio(SCORES, LABELS)
    assert figure.get_size_inches()[0] == PAGE
    assert [a.get_title() for a in figure.axes] == [
        f"{t.label}, {t.metric_label}" for t in LABELS.tasks.values()
    ]
    assert list(figure.axes[0].get_xticks()) == RATIOS


def test_a_score_far_below_the_floor_stays_visible():
    scores = SCORES.copy()
    pick = (
        (scores["task"] == "rotten")
        & (scores["method"] == "kronecker")
        & (scores["target_ratio"] == 25)
    )
    scores.loc[pick, ["retention", "mean_retention_low", "mean_retention_high"]] = [
        -300.0,
        -310.0,
        -290.0,
    ]
    for figure in (retention_by_ratio(scores, LABELS), error_vs_score(scores, LABELS)):
        assert figure.axes[0].get_ylim()[0] > 0
        assert [t.get_text() for t in figure.axes[0].texts] == ["↓-300"]


def test_colours_are_the_methods_own_in_every_figure():
    colour = {
        t.get_text(): to_hex(h.get_color()) for f in FIGURES.values() for t, h in _entries(f())
    }
    for method in FIXED.keys() & LABELS.methods.keys():
        assert colour[LABELS.methods[method].label] == FIXED[method].colour.lower()


def _entries(figure):
    legend = figure.legends[0]
    return [
        (t, h) for t, h in zip(legend.get_texts(), legend.legend_handles) if hasattr(h, "get_color")
    ]


def test_unknown_methods_get_a_stable_style():
    some = styles(["svd", "zeta", "alpha"])
    assert some["svd"] == FIXED["svd"]
    assert some == styles(["alpha", "zeta", "svd"])
    assert (
        len({(s.colour, s.marker) for s in styles([*FIXED, "alpha", "beta", "zeta"]).values()})
        == len(FIXED) + 3
    )


def test_deciles_have_a_panel_a_ratio_and_checkpoint():
    figure = error_by_decile(fake_deciles(("minilm", "e5")), LABELS)
    assert [a.get_title() for a in figure.axes] == [
        "target ratio 4×",
        "target ratio 10×",
        "target ratio 25×",
        "",
        "",
        "",
    ]
    assert [a.get_ylabel() for a in figure.axes[::3]] == [
        "e5\nrelative error",
        "minilm\nrelative error",
    ]
    assert len(figure.axes[0].lines) == 8


def test_errors_have_a_row_a_checkpoint_and_its_bound_once():
    figure = error_vs_ratio(SCORES, fake_bounds(), LABELS)
    # Rotten Tomatoes and Similarity name the same checkpoint here.
    assert [a.get_title() for a in figure.axes[::2]] == [
        f"{model}, plain" for model in ("multilingual E5-small", "MiniLM-L6", "SmolLM2-135M")
    ]
    for panel, scale in zip(figure.axes[:2], (0.6, 0.3)):
        (bound,) = [
            line
            for line in panel.lines
            if line.get_color() == "black" and line.get_marker() == "None"
        ]
        assert bound.get_ydata()[0] == pytest.approx(scale / 3)
        low, high = panel.get_ylim()
        assert all(
            low < y < high for line in panel.lines if line is not bound for y in line.get_ydata()
        )


def test_a_study_without_bounds_or_scores_still_draws():
    assert error_vs_ratio(SCORES, fake_bounds().head(0), LABELS).axes
    assert error_vs_ratio(SCORES[SCORES["method"] == "identity"], fake_bounds(), LABELS).axes


def called(label):
    """The made-up study's labels, with Rotten Tomatoes called so."""
    return dataclasses.replace(
        LABELS, tasks={"rotten": dataclasses.replace(LABELS.tasks["rotten"], label=label)}
    )


def test_japanese_has_all_its_glyphs(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a glyph that no font has is a warning
        save(
            retention_of_task(SCORES, called("日本語の感情分析、ヶ月 ﾃｽﾄ"), "rotten"),
            tmp_path / "a",
        )
        with pytest.raises(UserWarning, match="Glyph"):
            save(retention_of_task(SCORES, called("\U00012000"), "rotten"), tmp_path / "b")
    assert b"IPAexGothic" in (tmp_path / "a.pdf").read_bytes()


def test_the_front_holds_what_nothing_beats_at_its_size_or_below():
    def at(ratio, value):
        return Point("m", ratio, value, value, value)

    points = [at(4, 99), at(10, 99.5), at(10.3, 99.4), at(25, 80), at(25, 70), at(32, 60)]
    # 10.3 is the same size as 10, within 5 %; 4 is larger and worse than 10.
    assert front(points, higher=True) == [at(32, 60), at(25, 80), at(10, 99.5)]
    assert front([at(4, 20), at(10, 30), at(10, 25)], higher=False) == [at(10, 25), at(4, 20)]


def test_the_front_is_drawn_through_its_points_with_megabytes_above():
    figure = pareto(SCORES, fake_sizes(), LABELS)
    panel = figure.axes[0]
    (line,) = [
        line for line in panel.lines if line.get_color() == "black" and line.get_linestyle() == "-"
    ]
    assert list(line.get_xdata()) == sorted(line.get_xdata(), reverse=True)
    assert list(line.get_ydata()) == sorted(line.get_ydata())
    (top,) = panel.child_axes
    figure.canvas.draw()
    low, high = panel.get_xlim()
    assert sorted(top.get_xlim()) == pytest.approx(
        [30522 * 384 * 4e-6 / high, 30522 * 384 * 4e-6 / low]
    )
    perplexity = figure.axes[2]
    assert perplexity.get_yscale() == "log" and perplexity.yaxis_inverted()


def test_tasks_without_methods_for_the_embedding_alone_stand_among_whole_models():
    labels = dataclasses.replace(
        LABELS,
        methods=LABELS.methods
        | {"svd": dataclasses.replace(LABELS.methods["svd"], compresses_layers=True)},
    )
    scores = SCORES[
        (SCORES["task"] != "bitext") | SCORES["method"].isin(["identity", "svd"])
    ].copy()
    scores["target_ratio"] = scores["target_ratio"].replace(25, 20)
    others = [title_of(labels, task) for task in labels.tasks if task != "bitext"]
    for figure in (
        retention_by_ratio(scores, labels),
        pareto(scores, fake_sizes(), labels),
        error_vs_score(scores, labels),
    ):
        assert [panel.get_title() for panel in figure.axes] == others
        assert "SVD" not in [text.get_text() for text in figure.legends[0].get_texts()]
    figure = retention_of_layers(scores, labels)
    assert len(figure.axes) == len(labels.tasks)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "SVD" in shown and labels.methods["t24"].label not in shown
    assert list(figure.axes[0].get_xticks()) == [4, 10, 20]
    assert [
        text.get_text()
        for text in retention_of_task(scores, labels, "bitext").legends[0].get_texts()
    ][0] == "SVD"


def test_whole_models_stand_at_the_ratio_of_the_model_beside_those_of_papers():
    layers = dataclasses.replace(LABELS.methods["svd"], compresses_layers=True)
    labels = dataclasses.replace(LABELS, methods=LABELS.methods | {"svd": layers})
    modules = pandas.DataFrame(
        [dict(model="MiniLM-L6", method="svd", target_ratio=4, seed=0, dense_parameters=10**6)]
    )
    model = PublishedModel("A paper's model", "BERT base", 21, 91)
    figure = retention_of_layers(SCORES, labels, modules, [model])
    panel = figure.axes[list(labels.tasks).index("rotten")]
    named = [text.get_text() for text in panel.texts]
    assert "A paper's model" in named and panel.get_xlim()[1] > 21
    ratios = SCORES[(SCORES["method"] == "svd") & (SCORES["task"] == "rotten")]["model_ratio"]
    drawn = [float(x) for line in panel.lines for x in line.get_xdata() if len(line.get_xdata())]
    assert all(any(abs(x / ratio - 1) < 0.06 for x in drawn) for ratio in ratios)
    top = panel.child_axes[0]
    figure.canvas.draw()
    assert max(top.get_xlim()) == pytest.approx(4 / panel.get_xlim()[0])
    perplexity = figure.axes[list(labels.tasks).index("wikitext")]
    assert "A paper's model" not in [text.get_text() for text in perplexity.texts]


def test_a_task_out_of_reach_of_all_its_methods_still_draws():
    scores = SCORES[
        SCORES["method"].isin(["identity", "svd"]) & SCORES["target_ratio"].isin([3.9, 25])
    ].copy()
    scores["target_ratio"] = 7.5
    scores[
        ["value", "retention", "mean_retention_low", "mean_retention_high", "achieved_ratio"]
    ] = float("nan")
    assert retention_of_task(scores, LABELS, "bitext").axes[0].get_title() == title_of(
        LABELS, "bitext"
    )


@pytest.mark.parametrize("lower", [99.3, 98, 97, 96, 95, 94])
def test_names_on_the_front_hide_no_other(lower):
    close = SCORES.copy()
    front_of_two = close["target_ratio"].eq(25) & close["method"].isin(["b23", "t24"])
    close.loc[front_of_two & close["method"].eq("b23"), ["achieved_ratio", "retention"]] = 25, 99.5
    close.loc[front_of_two & close["method"].eq("t24"), ["achieved_ratio", "retention"]] = 28, lower
    figure = pareto(close, fake_sizes(), LABELS)
    figure.canvas.draw()
    for panel in figure.axes:
        boxes = [text.get_window_extent() for text in panel.texts]
        assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])
    names = {text.get_text() for text in figure.axes[0].texts}
    assert {LABELS.methods["b23"].label, LABELS.methods["t24"].label} <= names


def test_the_rank_a_ratio_buys_is_the_svds():
    for ratio in RATIOS:
        assert rank_bought(30522, 384, ratio) == SVD().plan((30522, 384), ratio).sizes["rank"]
    (panel, _) = spectra(fake_spectra(), LABELS).axes
    energy = sum(1 / i**2 for i in range(1, 95)) / sum(1 / i**2 for i in range(1, 385))
    assert panel.texts[0].get_text() == f"4×: rank 94, {100 * energy:.0f} %"


def test_bars_stand_in_groups_and_say_what_is_out_of_reach():
    found = compare_variants(*fake_ablations())
    (panel,) = ablation_bars(found, fake_ablations()[1]).axes
    texts = [t.get_text() for t in panel.texts]
    assert len(texts) == 4 * 3 * 2 and texts[5] == "B23, plain_norms: not reached"
    assert len(panel.patches) == 4 * (3 + 2)
    assert "perplexity" in texts[12]


def test_learning_curves_have_a_panel_a_stage_and_task_with_a_label_a_line():
    figure = learning_curves(fake_training(), LABELS)
    titles = ["fine-tuning", "Similarity: training on text", "Similarity: students"]
    assert [panel.get_title() for panel in figure.axes] == titles
    # Of each curve a line and the points of its held-out loss.
    assert (
        [len(panel.lines) // 2 for panel in figure.axes]
        == [len(panel.texts) for panel in figure.axes]
        == [2, 1, 15]
    )
    tuned, _, students = figure.axes
    assert tuned.lines[0].get_ydata()[0] == pytest.approx(
        (1 / 2 + 1 / 3) / 2
    )  # the mean of two seeds
    assert [len(line.get_xdata()) for line in tuned.lines] == [8, 2, 8, 0]
    assert students.get_yscale() == "log" and tuned.get_yscale() == "linear"
    figure.canvas.draw()
    boxes = sorted(
        (Text.get_window_extent(text) for text in students.texts), key=lambda box: box.y0
    )
    assert all(low.y1 <= high.y0 for low, high in zip(boxes, boxes[1:]))  # none over another
    assert all(box.x1 <= figure.bbox.x1 for box in boxes)
    (panel,) = learning_curves(fake_training().head(0), LABELS).axes
    assert panel.texts[0].get_text() == NOTHING


def test_labels_are_moved_apart_and_no_further():
    assert spread([0.1, 0.5, 0.9], 0.2) == pytest.approx([0.1, 0.5, 0.9])
    assert spread([0.5, 0.5, 0.95, 1.0], 0.1) == pytest.approx([0.5, 0.6, 0.9, 1.0])
    assert spread([], 0.1) == []


def test_latency_has_a_row_a_model_and_a_column_a_number_of_rows():
    figure = latency_vs_size(fake_speed(), LABELS)
    assert len(figure.axes) == 4
    assert [a.get_ylabel() for a in figure.axes[::2]] == [
        "MiniLM-L6\nµs a lookup",
        "SmolLM2-135M\nµs a lookup",
    ]
    dense = [
        line
        for line in figure.axes[1].lines
        if line.get_color() == "black" and line.get_linestyle() == "--"
    ]
    assert dense[0].get_ydata()[0] == 1280
