import pytest

from embpress.errors import UserError
from embpress.words import count_words, read_words, write_words


def test_whitespace_words_are_counted_with_their_space():
    assert count_words(["to be or not", "to be"]) == {("to", True): 2, ("be", True): 2, ("or", True): 1, ("not", True): 1}


def test_mecab_cuts_japanese_and_keeps_where_spaces_stood():
    words = count_words(["私は猫が好きです。 犬も"], "mecab")
    assert words["猫", False] == 1
    assert words["私", True] == 1  # the start of a text counts as spaced
    assert words["犬", True] == 1
    assert "".join(w for w, _ in words) == "私は猫が好きです。犬も"


def test_table_round_trips_words_that_look_like_line_ends(tmp_path):
    words = count_words(["a\u2028b c", "c"])
    write_words(words, tmp_path / "words.tsv")
    assert read_words(tmp_path / "words.tsv") == words
    assert (tmp_path / "words.tsv").read_text().split("\n")[:2] == ["count\tspace\tword", "2\t1\tc"]


def test_unknown_segmenter_is_named():
    with pytest.raises(UserError, match="unknown segmenter 'juman'; there are whitespace, runs, mecab, mecab_nfkc"):
        count_words(["a"], "juman")
