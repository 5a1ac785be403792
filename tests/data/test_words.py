import pytest

from embpress.data import words as words_module
from embpress.data.words import (
    PARAGRAPH,
    count_words,
    merge_words,
    read_words,
    write_sorted_words,
    write_words,
)
from embpress.errors import UserError


def test_whitespace_words_are_counted_with_their_space():
    assert count_words(["to be or not", "to be"]) == {
        ("to", True): 2,
        ("be", True): 2,
        ("or", True): 1,
        ("not", True): 1,
        PARAGRAPH: 2,
    }


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
    assert (tmp_path / "words.tsv").read_text().split("\n")[:2] == ["count\tspace\tword", "2\t0\t"]


def test_unknown_segmenter_is_named():
    with pytest.raises(
        UserError, match="unknown segmenter 'juman'; there are whitespace, runs, mecab, mecab_nfkc"
    ):
        count_words(["a"], "juman")


def test_runs_keep_every_space_and_line_end():
    words = count_words(["a  b\n\nc\x1cd\u3000e \n", "a", " "], "runs")
    assert words.pop(PARAGRAPH) == 3
    assert not any(spaced for _, spaced in words)
    assert {word: n for (word, _), n in words.items()} == {
        "a": 2,
        "  b": 1,
        "\n\nc\x1cd": 1,
        "\u3000e": 1,
        " \n": 1,
        " ": 1,
    }


def test_control_characters_that_python_takes_for_spaces_stay_in_words():
    assert count_words(["a\x1cb c\x1f\nd"]) == {
        ("a\x1cb", True): 1,
        ("c\x1f", True): 1,
        ("d", True): 1,
        PARAGRAPH: 2,
    }


def test_japanese_berts_words_are_normalised_first():
    words = count_words(["ﾌｧｲﾙを１個\u3000開く"], "mecab_nfkc")
    assert words == dict.fromkeys(
        [
            PARAGRAPH,
            ("ファイル", False),
            ("を", False),
            ("1", False),
            ("個", False),
            ("開く", False),
        ],
        1,
    )


def test_table_round_trips_tabs_line_ends_and_backslashes(tmp_path):
    words = count_words(["a\n\n\tb\\n \\ \rc \\t"], "runs")
    write_words(words, tmp_path / "words.tsv")
    assert read_words(tmp_path / "words.tsv") == words and ("\n\n\tb\\n", False) in words
    assert len((tmp_path / "words.tsv").read_text().split("\n")) == len(words) + 2


def test_merged_tables_have_the_bytes_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(words_module, "MERGED_AT_ONCE", 2)
    monkeypatch.setattr(words_module, "SORTED_AT_ONCE", 3)
    texts = [["b a\\ b", "c"], ["a \u2028", "d b"], ["猫 b"], ["e"], ["é b f"]]
    tables = [tmp_path / f"{i}.tsv" for i in range(len(texts))]
    for part, table in zip(texts, tables):
        write_sorted_words(count_words(part), table)
    (tmp_path / "scratch").mkdir()
    merge_words(tables, tmp_path / "merged.tsv", tmp_path / "scratch")
    write_words(count_words(text for part in texts for text in part), tmp_path / "once.tsv")
    assert (tmp_path / "merged.tsv").read_bytes() == (tmp_path / "once.tsv").read_bytes()
