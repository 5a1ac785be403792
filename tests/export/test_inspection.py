import math
import sys

import pytest
from transformers import BertConfig, BertModel

from embpress import compress_model, inspect
from embpress.models.embedding import OTHER_WEIGHTS
from embpress.storage import HEADER, TENSORS

from ..zoo import ZOO, tiny


@pytest.mark.parametrize("method", ["svd", "integer", "identity", "mean"])
def test_files_are_as_large_as_reported_up_to_the_stated_header(tmp_path, method):
    tiny("bert_mlm").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", method, 1)
    found = inspect(tmp_path / "out")
    sizes = {p.name: p.stat().st_size for p in (tmp_path / "out").iterdir()}
    assert sizes == found.files
    assert sizes[TENSORS] + sizes[HEADER] == found.stored_bits // 8 + found.matrix_header
    assert sizes[OTHER_WEIGHTS] == sum(g.bytes for g in found.kept) + found.rest_header
    assert found.model_after == found.embedding_after + sum(g.bytes for g in found.kept)
    assert found.embedding_ratio == 32 * math.prod(found.shape) / found.stored_bits


@pytest.mark.parametrize("name", ZOO)
def test_an_uncompressed_model_has_the_bytes_it_had(tmp_path, name):
    tiny(name).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    found = inspect(tmp_path / "out")
    assert found.model_before == found.model_after and found.model_ratio == 1


def test_it_says_what_did_not_shrink_and_why(tmp_path):
    tiny("llama_untied").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 2)
    found = inspect(tmp_path / "out")
    why = {g.name: g.why for g in found.kept}
    assert found.replaced == ["model.embed_tokens"]
    assert "left dense" in why["lm_head.weight: one row per token"]
    assert why["layers model.layers.*"] == "not an embedding"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux")
def test_loading_takes_less_memory_than_the_dense_model_unless_all_rows_are_decoded(tmp_path):
    config = BertConfig(
        vocab_size=100_000,
        hidden_size=128,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "integer", 3.5)
    found = inspect(tmp_path / "out", memory=True)
    peaks = found.load_memory
    assert peaks["rows"] < peaks["cached"] < found.model_before
    assert peaks["dense"] >= found.embedding_before == 4 * 128 * 100_000
    # Its rows are mapped, not copied. The kernel may map more pages of the file than are read.
    assert peaks["rows"] < 1.5 * found.embedding_after
    assert inspect(tmp_path / "out").load_memory == {}
