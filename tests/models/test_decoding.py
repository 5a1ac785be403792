import pytest
import torch

from embpress import compress_model, inspect, load
from embpress.errors import UserError
from embpress.methods import compress
from embpress.models.decoding import CACHED_ROWS, CachedRows, most_frequent
from tests.zoo import V, outputs, tiny


@pytest.mark.parametrize("name", ["bert_mlm", "llama_tied", "t5", "gemma3"])
@pytest.mark.parametrize("decode", ["cached", "dense"])
def test_every_way_to_decode_gives_the_same_outputs(tmp_path, name, decode):
    tiny(name).save_pretrained(tmp_path / "dense")
    counts = torch.arange(V) % 7
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5, counts=counts)
    rows, other = load(tmp_path / "out"), load(tmp_path / "out", decode=decode)
    torch.testing.assert_close(outputs(other), outputs(rows), rtol=1e-4, atol=1e-5)
    other.save_pretrained(tmp_path / "again")
    again = inspect(tmp_path / "again")
    assert again.stored == inspect(tmp_path / "out").stored
    torch.testing.assert_close(
        outputs(load(tmp_path / "again", decode=decode)), outputs(other), rtol=0, atol=0
    )


def test_rows_of_frequent_tokens_are_decoded_once():
    matrix = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    stored = compress(matrix, "integer", 4)
    cached = CachedRows(stored, torch.tensor([7, 30, 31]))
    asked = []
    decode = stored.rows
    stored.rows = lambda ids: asked.append(ids.tolist()) or decode(ids)
    ids = torch.tensor([30, 2, 7, 31, 49])
    assert torch.equal(cached.rows(ids), decode(ids)) and asked == [[2, 49]]
    assert (
        torch.equal(cached.rows(torch.tensor([7])), decode(torch.tensor([7]))) and len(asked) == 1
    )


def test_the_most_frequent_tokens_are_stored(tmp_path):
    tiny("bert").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5, counts=torch.arange(V))
    assert load(tmp_path / "out").embpress["frequent"] == list(range(V // 2, V))
    # A cache has at most half of the rows, and at most CACHED_ROWS.
    assert most_frequent(torch.arange(10_000)) == list(range(5_000, 10_000))
    assert most_frequent(torch.arange(100_000)) == list(range(100_000 - CACHED_ROWS, 100_000))


def test_another_way_to_decode_is_refused(tmp_path):
    tiny("bert").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    with pytest.raises(UserError, match="rows, cached, dense"):
        load(tmp_path / "out", decode="lazy")
