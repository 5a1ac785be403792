"""The table of whole models.

Sizes and operations by kind as the closed formulas have them, beside the scores.
"""

import re
import shutil
import subprocess
from dataclasses import replace

import pandas
import pytest

from embpress.analysis.ablations import compare_variants
from embpress.analysis.predictors import correlate_metrics
from embpress.analysis.scores import MethodLabel
from embpress.pipeline.sizes import SIZE_COLUMNS
from embpress.report.tables import (
    latex_document,
    main_table,
    stored_table,
    task_table,
    to_latex,
    to_text,
    whole_model_table,
)
from embpress.study.layer_kinds import KEPT

from ..fake_study import fake_labels, fake_scores

V = 30522
D = 384
H = 1536
LAYERS = 6
REST = 232_704
TOKENS = 128
SHAPES = {"embedding": (V, D), "query": (D, D), "output": (D, H)}
RANKS = {
    4.0: {"embedding": 95, "query": 48, "output": 76},
    10.0: {"embedding": 37, "query": 19, "output": 30},
}


def of_svd(kind, rank, seed):
    """A row of results/modules.csv by the closed formulas of SVD.

    K (V + d) floats and 2 k (V + d) operations a token.
    """
    (rows, d), number = SHAPES[kind], 1 if kind == "embedding" else LAYERS
    floats = number * rank * (rows + d)
    lookup = kind == "embedding"
    return {
        **dict(model="MiniLM-L6", method="svd_model", seed=seed, kind=kind, matrices=number),
        **dict(
            dense_parameters=number * rows * d, floats=floats, bits=32 * floats, relative_error=0.5
        ),
        "dense_flops": 0 if lookup else 2 * TOKENS * number * rows * d,
        "flops": 2 * TOKENS * rank * d if lookup else 2 * TOKENS * floats,
    }


@pytest.fixture
def study():
    """Scores, labels and modules of the made-up study.

    With a whole-model variant of three seeds and one out of reach.
    """
    labels = fake_labels()
    scores = fake_scores(3)
    label = replace(labels.methods["svd"], label="SVD, whole model", compresses_layers=True)
    labels = replace(labels, methods=labels.methods | {"svd_model": label})
    whole = scores[(scores["method"] == "svd") & (scores["task"] == "similarity")].assign(
        method="svd_model"
    )
    whole.loc[whole["target_ratio"] == 4, "model_ratio"] = 3.999
    out = whole["target_ratio"] == 25
    whole.loc[out, ["value", "retention", "model_ratio", "achieved_ratio"]] = float("nan")
    whole.loc[out, "note"] = "weights that are not compressed are 4 % of the model"
    modules = [
        {**of_svd(kind, rank, seed), "target_ratio": ratio}
        for ratio, ranks in RANKS.items()
        for seed in range(3)
        for kind, rank in ranks.items()
    ]
    sizes = dict(dense_parameters=REST, floats=REST, bits=32 * REST)
    about = dict(model="MiniLM-L6", method="svd_model", kind=KEPT, **sizes)
    kept = [about | dict(target_ratio=ratio, seed=seed) for ratio in RANKS for seed in range(3)]
    return (
        pandas.DataFrame(modules + kept),
        pandas.concat([scores, whole], ignore_index=True),
        labels,
    )


def cells_of(text, start):
    """Cells of the line of the plain table that begins so, and has a number first."""
    (line,) = [line for line in text.splitlines() if re.match(re.escape(start) + r" +[\d-]", line)]
    return line.removeprefix(start).split()


def test_numbers_are_those_of_the_closed_formulas(study):
    text = to_text(whole_model_table(*study), 200)
    parameters = V * D + LAYERS * (D * D + D * H) + REST
    stored = sum(of_svd(k, r, 0)["floats"] for k, r in RANKS[4].items()) + REST
    cells = cells_of(text, "uncompressed")
    # Retention and score come before the sizes.
    assert cells[:3] == ["--", "1.00", "100.0"] and len(cells) == 10
    assert cells[4:] == [
        *(
            f"{parameters / 1e6:.2f}",
            f"{2 * TOKENS * LAYERS * (D * D + D * H) / 1e9:.2f}",
        ),
        *(f"{4 * n / 1e6:.2f}" for n in (V * D, LAYERS * D * D, LAYERS * D * H, REST)),
    ]
    line = [c for c in text.splitlines() if c.startswith("SVD, whole model") and " 3.99 " in c][
        0
    ].split()
    assert line[3:5] == ["4", "3.99"]
    assert line[7:11] == [
        f"{stored / 1e6:.2f}",
        f"{2 * TOKENS * (95 * D + LAYERS * (48 * 2 * D + 76 * (D + H))) / 1e9:.2f}",
        f"{4 * 95 * (V + D) / 1e6:.2f}",
        f"{4 * LAYERS * 48 * 2 * D / 1e6:.2f}",
    ]


def test_a_ratio_out_of_reach_is_a_dash_with_its_reason(study):
    text = to_text(whole_model_table(*study), 200)
    (line,) = [
        line for line in text.splitlines() if line.startswith("SVD, whole model") and " 25 " in line
    ]
    assert "--^a" in line and "^a weights that are not compressed are 4 % of the model." in text


def test_only_tasks_with_a_whole_model_variant_have_a_block(study):
    for table in (to_text(whole_model_table(*study)), to_latex(whole_model_table(*study))):
        assert "Similarity, mean Spearman, MiniLM-L6" in table and "Rotten Tomatoes" not in table


def test_whole_models_have_blocks_of_their_own_and_no_part_in_tables_of_the_embedding(
    study,
):
    _, scores, labels = study
    assert "Target ratio 4$\\times$, layers compressed too" in to_latex(main_table(scores, labels))
    assert "Target ratio 4$\\times$, layers compressed too" in to_latex(
        task_table(scores, labels, "similarity")
    )
    without = scores[scores["method"] != "svd_model"]
    # pandas compares NaN as equal, dataclasses do not.
    assert repr(correlate_metrics(scores, labels)) == repr(correlate_metrics(without, labels))
    assert compare_variants(scores, labels).equals(compare_variants(without, labels))
    sizes = pandas.DataFrame(columns=SIZE_COLUMNS)
    assert "SVD, whole model" not in to_latex(stored_table(sizes, scores, labels))


def test_a_label_says_by_itself_that_it_is_of_the_embedding():
    assert not MethodLabel("x", "paper").compresses_layers


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_it_compiles_and_fits_the_page(study, tmp_path):
    (tmp_path / "t.tex").write_text(
        latex_document([to_latex(whole_model_table(*study))]), encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, re.findall(r"Overfull.*", done.stdout)
