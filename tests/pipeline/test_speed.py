"""Lookups in compressed embeddings are timed beside dense ones, for one checkpoint a model."""

import torch
from safetensors.torch import save_file

from embpress import storage
from embpress.fidelity.record import RESULT
from embpress.files import write_json
from embpress.methods import compress
from embpress.pipeline.aggregation import Evaluation
from embpress.pipeline.speed import ROWS, decoding_ratios, lookups, speed
from embpress.study.artefact import Artefact

from ..studies import make_study
from .entries import language_modelling


def test_lookups_are_timed_for_every_number_of_rows():
    dense = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    compressed = compress(dense, "integer", 6.0, bits=4)
    rows = lookups(compressed, dense)
    assert [row["rows"] for row in rows] == list(ROWS)
    for row in rows:
        assert row["bytes"] == compressed.stored_bits // 8
        assert 0 < row["low"] <= row["microseconds"] <= row["high"] and row["dense"] > 0


def test_other_ways_to_decode_are_timed_on_tokens_drawn_by_their_counts():
    dense = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    compressed = compress(dense, "integer", 6.0, bits=4)
    asked = []
    decode = compressed.rows
    compressed.rows = lambda ids: asked.append(len(ids)) or decode(ids)
    # Only the first two tokens occur. The cache holds the most frequent half of the rows; each way
    # decodes its rows once, and no lookup decodes others.
    ratios = decoding_ratios(compressed, dense, torch.tensor([5, 9] + [0] * 498))
    assert [sorted(of_rows) for of_rows in ratios] == [["cached", "decoded"]] * len(ROWS)
    assert all(value > 0 for of_rows in ratios for value in of_rows.values())
    assert asked == [250, 500]


def test_whole_models_are_not_among_the_embeddings(tmp_path):
    dense = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    save_file({"words": dense}, tmp_path / "model.safetensors")
    write_json(tmp_path / "checkpoint.json", {"embedding": "words"})
    save_file({"counts": torch.arange(500)}, tmp_path / "counts.safetensors")
    storage.save(compress(dense, "integer", 6.0, bits=4), tmp_path / "int4/6")
    for variant in ("int4", "int4_model"):
        write_json(tmp_path / variant / "6" / RESULT, {"stored_bits": 100, "ratio": 6.0})
    study = make_study(
        methods={
            "int4": {"method": "integer"},
            "int4_model": {"method": "integer", "modules": ["query"]},
        },
        tasks={"t": language_modelling()},
    )
    paths = {"outcomes": tmp_path, "checkpoint": tmp_path}
    paths["counts"] = tmp_path / "counts.safetensors"
    evaluations = [
        Evaluation("t", v, 0, artefacts=[Artefact(tmp_path / v / "6", v, 6, 0)], **paths)
        for v in study.variants
    ]
    assert speed(study, evaluations, print)["method"].tolist() == ["int4"] * len(ROWS) + [
        "identity"
    ] * len(ROWS)
