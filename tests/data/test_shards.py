import json

import pyarrow
import pytest
from pyarrow import parquet

from embpress.data import shards
from embpress.data.shards import iterate_texts, list_shards
from embpress.errors import UserError

TEXTS = ["one\u2028two words", "猫が好き", "x" * 40, "y", "last \\ \x1c one", "a tab\there"]


@pytest.fixture(params=[1, 7, 30, 1 << 20])
def shard_bytes(request, monkeypatch):
    """Shards from one byte each to one for all."""
    monkeypatch.setattr(shards, "SHARD_BYTES", request.param)
    return request.param


def all_texts(folder, column="text"):
    return [text for shard in list_shards(folder, column) for text in iterate_texts(shard)]


@pytest.mark.parametrize("end", ["\n", "", "\r\n"])
def test_every_line_is_read_once_wherever_a_shard_ends(tmp_path, shard_bytes, end):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + ("\n\n".join(TEXTS[:3]) + end).encode())
    (tmp_path / "below").mkdir()
    (tmp_path / "below/b.txt").write_text("\n".join(TEXTS[3:]) + "\n", newline="")
    (tmp_path / "notes.md").write_text("not counted")
    assert all_texts(tmp_path) == TEXTS


def test_json_lines_and_parquet_give_their_column(tmp_path, shard_bytes):
    rows = [json.dumps({"id": i, "body": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "a.jsonl").write_text(
        "\n".join([*rows, "", '{"body": null}', '{"body": "half \\ud83d"}'])
    )
    parquet.write_table(
        pyarrow.table({"body": [*TEXTS, None, " "], "id": range(8)}),
        tmp_path / "b.parquet",
        row_group_size=3,
    )
    assert all_texts(tmp_path, "body") == [*TEXTS, "half \ufffd", *TEXTS]


def test_parquet_shards_are_whole_row_groups(tmp_path, monkeypatch):
    table = pyarrow.table({"text": [str(i) for i in range(100)]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    monkeypatch.setattr(
        shards,
        "SHARD_BYTES",
        3 * parquet.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).total_byte_size,
    )
    found = list_shards(tmp_path, "text")
    assert [(shard.start, shard.stop) for shard in found] == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert [list(iterate_texts(shard)) for shard in found][1][0] == "30"


def parquet_of(path, **columns):
    parquet.write_table(pyarrow.table(columns), path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: None, r"no \.txt, \.jsonl or \.parquet file: check `path`"),
        (lambda folder: (folder / "a.txt").touch(), "1 files of .* empty"),
        (
            lambda folder: (folder / "a.txt").write_bytes(b"good\n\nca\xe9f\xe9\n"),
            r"a.txt, line 3: not UTF-8 \(.*\): convert",
        ),
        (
            lambda folder: (folder / "a.jsonl").write_text('{"text": "a"}\n{"text"'),
            "a.jsonl, line 2: not JSON",
        ),
        (
            lambda folder: (folder / "a.jsonl").write_text('{"body": "a"}'),
            "a.jsonl, line 1: no column 'text'; there are 'body'",
        ),
        (
            lambda folder: (folder / "a.jsonl").write_text("\n[]"),
            "a.jsonl, line 2: no column 'text'; there are no columns",
        ),
        (
            lambda folder: (folder / "a.jsonl").write_text('{"text": 3}'),
            "a.jsonl, line 1: column 'text' is not text",
        ),
        (
            lambda folder: (folder / "a.parquet").write_bytes(b"PAR1"),
            "a.parquet is not a complete Parquet file",
        ),
        (
            lambda folder: parquet_of(folder / "a.parquet", body=["a"]),
            "a.parquet: no column 'text'; there are 'body': set `col",
        ),
        (
            lambda folder: parquet_of(folder / "a.parquet", text=[1]),
            "a.parquet: column 'text' is int64",
        ),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        all_texts(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="not a folder: check `path`"):
        list_shards(tmp_path / "x", "text")


def test_a_wrong_line_is_counted_from_the_files_start_also_in_a_later_shard(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_BYTES", 8)
    (tmp_path / "a.txt").write_bytes(b"line\n" * 9 + b"\xff\n")
    with pytest.raises(UserError, match="line 10: not UTF-8"):
        all_texts(tmp_path)
