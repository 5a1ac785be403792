"""Sizes of the tensors of artefacts and checkpoints, and the table of them."""

import json
import re

import pandas
import pytest
import torch

from embpress.data.token_counts import write_counts
from embpress.models.embedding import write_metadata
from embpress.pipeline import compression
from embpress.pipeline.aggregation import Evaluation
from embpress.pipeline.sizes import EMBEDDING_LABEL, sizes
from embpress.report.tables import read_sizes, stored_table, to_latex, weights_table
from embpress.study.artefact import Artefact

from ..fake_study import fake_labels, fake_scores
from ..studies import make_study
from ..zoo import V, tiny
from .entries import language_modelling

D = 16


@pytest.fixture
def found(tmp_path):
    """Sizes of two methods on a tiny BERT, one of them at a ratio out of its reach."""
    model = tiny("bert")
    model.save_pretrained(tmp_path / "model")
    write_metadata(model, [0], tmp_path / "model", {})
    write_counts(torch.arange(V), tmp_path / "counts.safetensors")
    methods = {"t24": {"options": {"neighbours": 2}}, "svd": {}, "random": {}}
    task = language_modelling()
    study = make_study(methods=methods, tasks={"t": task, "u": task})
    artefacts = {method: [] for method in methods}
    for method, ratio in (("t24", 3), ("svd", 2), ("svd", 900), ("random", 1)):
        artefacts[method].append(Artefact(tmp_path / f"{method}/{ratio:g}", method, ratio, 0))
        inputs = compression.FitInputs(tmp_path / "model", tmp_path / "counts.safetensors")
        spec = study.variants[method].matrices[0]
        compression.compress_checkpoint(inputs, spec, artefacts[method][-1], print)
    files = {"outcomes": tmp_path, "checkpoint": tmp_path / "model", "counts": tmp_path}
    evaluations = [
        Evaluation(task, method, 0, artefacts=artefacts[method], **files)
        for task in "tu"
        for method in methods
    ]
    return tmp_path, sizes(study, evaluations)


def test_parts_add_up_to_what_is_stored(found):
    folder, table = found
    for (method, ratio), parts in table[table["method"] != ""].groupby(["method", "target_ratio"]):
        assert (
            parts["bits"].sum()
            == json.loads((folder / method / f"{ratio:g}/result.json").read_text())["stored_bits"]
        )
    # A ratio out of reach has no artefact, a control is no method, and tasks that share a
    # checkpoint share its rows.
    assert set(zip(table["method"], table["target_ratio"].fillna(0))) == {
        ("", 0),
        ("t24", 3),
        ("svd", 2),
    }
    assert not table.duplicated(["method", "target_ratio", "part"]).any()


def test_kept_rows_are_counted(found):
    table = found[1].set_index("method")
    assert set(table.loc["t24", "rows_kept"]) == {5} and set(table["rows"]) == {V}
    assert table.loc["svd", "rows_kept"].isna().all()


def test_a_models_other_weights_have_a_reason(found):
    folder, table = found
    weights = table[table["method"] == ""].set_index("part")
    assert weights.loc[EMBEDDING_LABEL, "bits"] == 32 * V * D
    parameters = json.loads((folder / "model/checkpoint.json").read_text())["parameters"]
    assert weights["bits"].sum() == 32 * parameters
    assert weights.loc["position embeddings", "why"] == "not a token embedding"


def made_up_sizes():
    """Some sizes of the made-up study."""
    base = dict(model="MiniLM-L6", seed=0, rows=100, rows_kept=None, why="")
    weights = [
        (EMBEDDING_LABEL, 8e7, "what the methods replace"),
        ("layers a_b.*", 1.2e8, "not an embedding"),
        ("c", 8, "none"),
    ]
    rows = [
        base | dict(method="", target_ratio=None, part=p, dtype="F32", bits=b, why=w)
        for p, b, w in weights
    ]
    rows += [
        base | dict(method="int8", target_ratio=3.9, part=p, dtype=d, bits=b)
        for p, d, b in (("codes", "U8", 995), ("scale", "F16", 5))
    ]
    rows += [
        base | dict(method="t24", target_ratio=10.0, part="kept", dtype="F32", bits=10, rows_kept=7)
    ]
    return pandas.DataFrame(rows)


def test_the_table_tells_what_did_not_shrink_and_why(tmp_path):
    made_up_sizes().to_csv(tmp_path / "sizes.csv", index=False)
    made_up = read_sizes(tmp_path / "sizes.csv")
    weights = weights_table(made_up)
    stored = stored_table(made_up, fake_scores(), fake_labels())
    table = to_latex(weights, stored)
    assert r"MiniLM-L6: at most 1.7$\times$ smaller" in table
    assert r"layers a\_b.* & 15.0 & 60.0 & not an embedding \\" in table
    assert "\nc & " not in table
    assert r"& 3.9\textsuperscript{b} & -- & codes (U8) 99.5, scale (F16) 0.5 \\" in table
    assert re.search(
        r"codes alone would achieve (3\.9\d)\$\\times\$, all stored tensors achieve (3\.9\d)",
        table,
    )
    assert r"& 7.0 & kept (F32) 100.0 \\" in table
    assert r"int4 rows & --\textsuperscript{c} & -- & not reached \\" in table
    assert "int4 rows reaches at most 7.8 on 30522 x 384" in table
    assert "larger than this target ratio allows" in table
