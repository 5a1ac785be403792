"""What is in artefacts and checkpoints, byte for byte, and the table made of it."""

import json
import re

import pandas
import pytest
import torch

from embpress.data.token_counts import write_counts
from embpress.models.embedding import describe
from embpress.pipeline import compression
from embpress.pipeline.aggregation import Evaluation
from embpress.pipeline.sizes import EMBEDDING, sizes
from embpress.report.tables import read_sizes, sizes_table

from ..fake_study import fake_labels, fake_scores
from ..zoo import V, tiny

D = 16


@pytest.fixture
def found(tmp_path):
    """Sizes of two methods on a tiny BERT, one of them at a ratio out of its reach."""
    model = tiny("bert")
    model.save_pretrained(tmp_path / "model")
    describe(model, [0], tmp_path / "model", {})
    write_counts(torch.arange(V), tmp_path / "counts.safetensors")
    methods = {"t24": {"options": {"neighbours": 2}}, "svd": {}, "random": {}}
    for method, ratio in (("t24", 3), ("svd", 2), ("svd", 900), ("random", 1)):
        arguments = (
            method,
            methods[method].get("options", {}),
            ratio,
            0,
            tmp_path / f"{method}/{ratio:g}",
            print,
        )
        compression.compress_checkpoint(
            tmp_path / "model", tmp_path / "counts.safetensors", *arguments
        )
    task = {"model": "m", "label": "T", "protocol": "zero_shot"}
    config = {
        "models": {"m": {"label": "Model"}},
        "tasks": {"t": task, "u": task},
        "methods": methods,
    }
    paths = {"outcomes": "none", "checkpoint": str(tmp_path / "model"), "counts": "none"}
    folders = {m: [str(f) for f in sorted((tmp_path / m).iterdir())] for m in methods}
    return tmp_path, sizes(
        config,
        [
            Evaluation.from_json(
                {"task": t, "variant": m, "seed": 0, "artefacts": folders[m], **paths}
            )
            for t in "tu"
            for m in methods
        ],
    )


def test_parts_add_up_to_what_is_stored(found):
    folder, table = found
    for (method, ratio), parts in table[table["method"] != ""].groupby(["method", "ratio_asked"]):
        assert (
            parts["bits"].sum()
            == json.loads((folder / method / f"{ratio:g}/result.json").read_text())["stored_bits"]
        )
    # A ratio out of reach has no artefact, a control is no method, and tasks that share a
    # checkpoint share its rows.
    assert set(zip(table["method"], table["ratio_asked"].fillna(0))) == {
        ("", 0),
        ("t24", 3),
        ("svd", 2),
    }
    assert not table.duplicated(["method", "ratio_asked", "part"]).any()


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
    assert weights.loc["position embeddings", "why"] == "no token embedding"


def made_up_sizes():
    """Some sizes of the made-up study."""
    base = dict(model="MiniLM-L6", seed=0, rows=100, rows_kept=None, why="")
    weights = [
        (EMBEDDING, 8e7, "what the methods replace"),
        ("layers a_b.*", 1.2e8, "not an embedding"),
        ("c", 8, "none"),
    ]
    rows = [
        base | dict(method="", ratio_asked=None, part=p, dtype="F32", bits=b, why=w)
        for p, b, w in weights
    ]
    rows += [
        base | dict(method="int8", ratio_asked=3.9, part=p, dtype=d, bits=b)
        for p, d, b in (("codes", "U8", 995), ("scale", "F16", 5))
    ]
    rows += [
        base | dict(method="t24", ratio_asked=10.0, part="kept", dtype="F32", bits=10, rows_kept=7)
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
