import os

import pytest
import torch
from transformers import BltForCausalLM

from bench.large_tables import blt_config, write_model
from embpress import compress_model, inspect, load, storage
from embpress.cli import main
from embpress.errors import UserError
from embpress.export import table_source
from embpress.models.embedding import OTHER_WEIGHTS
from embpress.models.pretrained import WEIGHTS
from embpress.numerics.matrices import FileMatrix, map_tensors
from embpress.safetensors_header import read_header
from tests.zoo import outputs, tiny

TABLE = "model.embed_tokens_per_layer"
POSITIONS = "bert.embeddings.position_embeddings"
N_GRAMS = "model.encoder_hash_tok_embedding"


def dense_folder(tmp_path, name="gemma3n", **how):
    """A tiny model, and its folder."""
    model = tiny(name)
    model.save_pretrained(tmp_path / "dense", **how)
    return model, tmp_path / "dense"


@pytest.mark.parametrize("name, table", [("gemma3n", TABLE), ("bert_mlm", POSITIONS)])
def test_outputs_are_those_of_the_decoded_table_in_the_dense_model(tmp_path, name, table):
    model, folder = dense_folder(tmp_path, name)
    before = outputs(model)
    summary = compress_model(folder, tmp_path / "out", "svd", 1.5, matrix=table)
    decoded = storage.load(tmp_path / "out").dense()
    with torch.no_grad():
        model.get_submodule(table).weight.copy_(decoded)
    for decode in ("rows", "cached", "dense"):
        loaded = load(tmp_path / "out", decode)
        torch.testing.assert_close(outputs(loaded), outputs(model), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(before, outputs(model))
    assert summary.shape == tuple(decoded.shape) and summary.ratio >= 1.5
    kept = read_header(tmp_path / "out" / OTHER_WEIGHTS).tensors
    assert f"{table}.weight" not in kept and any("embed" in name for name in kept)


@pytest.mark.parametrize("method", ["integer", "svd", "signs", "gguf"])
def test_a_table_of_n_grams_is_fitted_from_its_file_by_blocks(tmp_path, monkeypatch, method):
    model = BltForCausalLM(blt_config(rows_of_a_length=1600, d=32)).eval()
    model.save_pretrained(tmp_path / "dense")
    blocks = []
    read = FileMatrix._read

    def record(matrix, start, stop):
        blocks.append(range(start, stop))
        return read(matrix, start, stop)

    monkeypatch.setattr(FileMatrix, "_read", record)
    compress_model(tmp_path / "dense", tmp_path / "out", method, 3, matrix=N_GRAMS)
    table = model.get_submodule(N_GRAMS).weight
    assert len(table) == 9600 and max(map(len, blocks)) < len(table)
    assert set().union(*blocks) == set(range(len(table)))
    loaded = load(tmp_path / "out")
    looked_up = []
    matrix = loaded.embedding_slot.matrix
    rows = matrix.rows
    matrix.rows = lambda ids: looked_up.append(len(ids)) or rows(ids)
    found = outputs(loaded)
    # One lookup for each length of n-grams, of at most the 8 tokens.
    assert len(looked_up) == 6 and max(looked_up) <= 8
    with torch.no_grad():
        table.copy_(storage.load(tmp_path / "out").dense())
    torch.testing.assert_close(found, outputs(model), rtol=1e-4, atol=1e-5)


def test_a_table_larger_than_the_memory_is_opened(tmp_path):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    rows_of_a_length = 3 * memory // (6 * 4 * 512)
    write_model(tmp_path, rows_of_a_length, 512, is_sparse=True)
    source = table_source.open_table_source(tmp_path, N_GRAMS).count_tokens()
    assert source.matrix_bytes > 2.9 * memory
    assert source.matrix[source.shape[0] - 1].count_nonzero() == 0
    mapped = map_tensors(tmp_path / WEIGHTS)
    assert mapped[f"{N_GRAMS}.weight"][-1].count_nonzero() == 0
    # What is written to a mapped tensor stays in memory.
    name, weight = next((k, v) for k, v in mapped.items() if v.ndim == 2 and "layers" in k)
    before = weight.clone()
    assert torch.equal(source.model.state_dict()[name], before)
    weight.zero_()
    assert torch.equal(map_tensors(tmp_path / WEIGHTS)[name], before)


def test_sizes_count_the_dense_table(tmp_path):
    model, folder = dense_folder(tmp_path)
    summary = compress_model(folder, tmp_path / "out", "identity", 1, matrix=TABLE)
    tied = {id(tensor): tensor.nbytes for tensor in model.state_dict(keep_vars=True).values()}
    assert summary.model_before == summary.model_after == sum(tied.values())
    assert summary.embedding_before == model.get_submodule(TABLE).weight.nbytes
    found = inspect(tmp_path / "out")
    assert found.replaced == [TABLE] and found.model_after == summary.model_after


def test_a_loaded_model_is_saved_again_and_its_tied_head_stays(tmp_path):
    model, folder = dense_folder(tmp_path)
    compress_model(folder, tmp_path / "out", "identity", 1, matrix=TABLE)
    load(tmp_path / "out").save_pretrained(tmp_path / "again")
    torch.testing.assert_close(outputs(load(tmp_path / "again")), outputs(model))


def test_half_precision_and_shards(tmp_path):
    model, folder = dense_folder(tmp_path)
    model = model.to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="3KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    (folder / "model.safetensors").unlink(missing_ok=True)
    summary = compress_model(folder, tmp_path / "out", "identity", 1, matrix=TABLE)
    loaded = load(tmp_path / "out")
    assert outputs(loaded).dtype == torch.bfloat16
    assert summary.embedding_before == model.get_submodule(TABLE).weight.nbytes
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0.02, atol=0.05)


def test_the_dense_table_is_read_from_the_file_by_blocks_only(tmp_path, monkeypatch):
    _, folder = dense_folder(tmp_path)
    whole = []
    read = FileMatrix._read

    def record(matrix, start, stop):
        whole.append(stop - start)
        return read(matrix, start, stop)

    monkeypatch.setattr(FileMatrix, "_read", record)
    monkeypatch.setattr("embpress.formats._base.ROW_BLOCK", 8)
    source = table_source.open_table_source(folder, TABLE)
    assert not any(tensor.shape == source.shape for tensor in source.model.state_dict().values())
    assert isinstance(source.matrix, FileMatrix) and not whole
    compress_model(folder, tmp_path / "out", "integer", 3, matrix=TABLE)
    assert max(whole) < source.shape[0]


def test_counts_of_tokens_reach_the_rows_of_tokens_only(tmp_path):
    model = tiny("gemma3n", vocab_size_per_layer_input=20)
    model.save_pretrained(folder := tmp_path / "dense")
    counts = torch.arange(23.0)
    source = table_source.open_table_source(folder, TABLE).count_tokens(counts)
    assert torch.equal(source.context.counts, counts[:20])
    _, folder = dense_folder(tmp_path / "bert", "bert_mlm")
    source = table_source.open_table_source(folder, POSITIONS).count_tokens()
    assert source.context.counts.unique().tolist() == [1] and "alike" in source.counts_source
    given = torch.arange(16.0)
    source = table_source.open_table_source(folder, POSITIONS).count_tokens(given)
    assert torch.equal(source.context.counts, given)
    with pytest.raises(UserError, match="--counts"):
        table_source.open_table_source(folder, POSITIONS).count_tokens(texts=["texts.txt"])


@pytest.mark.parametrize(
    "arguments, culprit",
    [
        (dict(matrix="model.nothing"), "no embedding layer 'model.nothing'.*embed_tokens_per"),
        (dict(matrix="lm_head"), "no embedding layer 'lm_head'"),
        (dict(matrix=TABLE, head="integer@3"), "no output head that is tied"),
        (dict(matrix=TABLE, method="vocabulary_trimming"), "--matrix"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, arguments, culprit):
    _, folder = dense_folder(tmp_path)
    with pytest.raises(UserError, match=culprit):
        compress_model(folder, tmp_path / "out", **dict(method="svd", ratio=2) | arguments)
    assert not (tmp_path / "out").exists()


def test_the_command_names_the_table(tmp_path, capsys):
    _, folder = dense_folder(tmp_path)
    words = f"compress --model {folder} --matrix {TABLE} --method integer --ratio 2"
    assert main([*words.split(), "--out", str(tmp_path / "out")]) == 0
    assert main(["inspect", str(tmp_path / "out")]) == 0
    assert TABLE in capsys.readouterr().out
    assert main([*words.split(), "--matrices", "all", "--out", str(tmp_path / "x")]) == 1
    assert main(["export", str(tmp_path / "out"), "--gguf", str(tmp_path / "x.gguf")]) == 1
    assert TABLE in capsys.readouterr().err
