import json

import pytest
import torch

from embpress.data.counts import counts_from_file
from embpress.data.token_counts import write_counts
from embpress.errors import UserError

from ..conftest import PIECES

V = len(PIECES)
WANTED = torch.zeros(V, dtype=torch.int64)
WANTED[PIECES.index("cat")], WANTED[PIECES.index("the")] = 7, 3


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.tsv", "cat\t7\nthe\t3\n"),
        ("ids.tsv", f"{PIECES.index('cat')}\t7\n{PIECES.index('the')}\t3\n"),
        ("twice.tsv", "cat\t5\nthe\t3\ncat\t2\n"),
        ("a.json", '{"cat": 7, "the": 3}'),
        ("list.json", json.dumps(WANTED.tolist())),
    ],
)
def test_counts_by_token_or_id(tmp_path, wordpiece, name, text):
    (tmp_path / name).write_text(text)
    assert torch.equal(counts_from_file(tmp_path / name, V, wordpiece), WANTED)


def test_counts_of_a_study(tmp_path):
    write_counts(WANTED, tmp_path / "c.safetensors")
    assert torch.equal(counts_from_file(tmp_path / "c.safetensors", V), WANTED)
    with pytest.raises(UserError, match="the model has 9 rows"):
        counts_from_file(tmp_path / "c.safetensors", 9)


@pytest.mark.parametrize(
    "name, text, sentence",
    [
        ("a.tsv", "cat 7\n", "line 1: expected"),
        ("a.tsv", "cat\t7\nthe\t-3\n", "line 2: expected"),
        ("a.tsv", "horse\t7\n", "'horse'.* 17 tokens"),
        ("a.tsv", "99\t7\n", "counts '99'"),
        ("a.json", "[1, 2", "cannot be read"),
        ("a.json", "3", "cannot be read"),
        ("a.json", '{"cat": "7"}', "gives 'cat' the count '7'"),
        ("a.json", '{"cat": -7}', "gives 'cat' the count -7"),
        ("a.json", json.dumps([1] * 99), r"a\.json lists 99 counts.*17 rows"),
        ("a.json", json.dumps([1] * 3), r"a\.json lists 3 counts.*17 rows"),
        ("a.json", "{}", r"a\.json counts no token"),
        ("a.tsv", "", r"a\.tsv counts no token"),
        ("a.txt", "cat\t0\n", r"a\.txt counts no token"),
        ("a.csv", "cat,7", r"a\.csv.*name a"),
        ("a.safetensors", "cat", "cannot be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, wordpiece, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=sentence):
        counts_from_file(tmp_path / name, V, wordpiece)


def test_tokens_need_a_tokenizer(tmp_path):
    (tmp_path / "a.tsv").write_text("cat\t7\n")
    with pytest.raises(UserError, match="no tokenizer: count ids"):
        counts_from_file(tmp_path / "a.tsv", V)


def test_lines_end_at_newlines_only(tmp_path):
    """Real tokens contain other line separators of Unicode."""
    tokenizer = type(
        "Tokenizer", (), {"get_vocab": lambda self: {"a\u2028b": 0, "c\x85": 1, "\x0c": 2}}
    )()
    (tmp_path / "a.tsv").write_bytes("\ufeffa\u2028b\t3\r\nc\x85\t4\n\x0c\t5\n".encode())
    assert counts_from_file(tmp_path / "a.tsv", 3, tokenizer).tolist() == [3, 4, 5]
