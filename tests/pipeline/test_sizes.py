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
from embpress.pipeline.sizes import EMBEDDING, sizes
from embpress.report.tables import read_sizes, sizes_table
from embpress.study.artefact import Artefact

from ..fake_study import fake_labels, fake_scores
from ..zoo import V, tiny

D = 16


@pytest.fixture
def found(tmp_path):
    """Sizes of two methods on a tiny BERT, one of them at a ratio out of its reach."""
    model = tiny("bert")
    model.save_pretrained(tmp_path / "model")
    write_metadata(model, [0], tmp_path / "model", {})
    write_counts(torch.arange(V), tmp_path / "counts.safetensors")
    methods = {"t24": {"options": {"neighbours": 2, "n_kept": 5}}, "svd": {}, "random": {}}
    artefacts = {method: [] for method in methods}
    for method, ratio in (("t24", 1.5), ("svd", 2), ("svd", 900), ("random", 1)):
        artefacts[method].append(Artefact(tmp_path / f"{method}/{ratio:g}", method, ratio, 0))
        inputs = compression.FitInputs(tmp_path / "model", tmp_path / "counts.safetensors")
        options = methods[method].get("options", {})
        compression.compress_checkpoint(inputs, method, options, artefacts[method][-1], print)
    task = {"model": "m", "label": "T", "protocol": "zero_shot"}
    config = {
        "models": {"m": {"label": "Model"}},
        "tasks": {"t": task, "u": task},
        "methods": methods,
    }
    files = {"outcomes": tmp_path, "checkpoint": tmp_path / "model", "counts": tmp_path}
    evaluations = [
        Evaluation(task, method, 0, artefacts=artefacts[method], **files)
        for task in "tu"
        for method in methods
    ]
    return tmp_path, sizes(config, evaluations)


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
    assert weights.loc[EMBEDDING, "bits"] == 32 * V * D
    parameters = json.loads((folder / "model/checkpoint.json").read_text())["parameters"]
    assert weights["bits"].sum() == 32 * parameters
    assert weights.loc["position embeddings", "why"] == "not a token embedding"


def made_up_sizes():
    """Some sizes of the made-up study."""
    base = dict(model="MiniLM-L6", seed=0, rows=100, rows_kept=None, why="")
    weights = [
        (EMBEDDING, 8e7, "what the methods replace"),
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
    table = sizes_table(read_sizes(tmp_path / "sizes.csv"), fake_scores(), fake_labels())
    assert r"MiniLM-L6: at most 1.7$\times$ smaller" in table
    assert r"layers a\_b.* & 15.0 & 60.0 & not an embedding \\" in table
    assert "\nc & " not in table
    assert r"& 3.9\textsuperscript{b} & -- & codes (U8) 99.5, scale (F16) 0.5 \\" in table
    assert re.search(
        r"codes alone would reach (3\.9\d)\$\\times\$, with all else that it stores it is (3\.9\d)",
        table,
    )
    assert r"& 7.0 & kept (F32) 100.0 \\" in table
    assert r"int4 rows & --\textsuperscript{c} & -- & out of reach \\" in table
    assert "int4 rows cannot compress 30522 x 384 by 10: it reaches at most 7.8." in table
    assert "larger than this block allows" in table
