import bz2

import pytest

from embpress.data.rows import read_rows, read_table
from embpress.errors import UserError

TSV = {"format": "tsv"}
CSV = {"format": "csv"}
JSONL = {"format": "jsonl"}
BARE = TSV | {"columns": ["genre", "score", "a", "b"]}


def read(data, text, wanted, name="f"):
    content = text if isinstance(text, bytes) else text.encode()
    return [
        (row.line, *row.values.values()) for row in read_table(data, name, content, wanted).rows
    ]


@pytest.mark.parametrize(
    ("data", "text", "rows"),
    [
        (TSV, "a\tb\n1\t2\n3\t4\n", [(2, "1", "2"), (3, "3", "4")]),
        (TSV, "\ufeffa\tb\r\n1\t2\r\n", [(2, "1", "2")]),
        (TSV, "b\tx\ta\n2\t0\t1", [(2, "1", "2")]),
        (TSV, 'a\tb\n"He said\t"no"\n', [(2, '"He said', '"no"')]),
        (TSV, "a\tb\n1\tU+2028: \u2028 \x85 end\n\n", [(2, "1", "U+2028: \u2028 \x85 end")]),
        (
            TSV | {"quoted": True},
            'a\tb\n"1\n1"\t"say ""no"""\n2\t3\n',
            [(2, "1\n1", 'say "no"'), (4, "2", "3")],
        ),
        (
            BARE,
            "news\t4.5\t1\t2\nnews\t4.5\t3\t4\tmore\tand more\n",
            [(1, "1", "2"), (2, "3", "4")],
        ),
        (BARE, "index\tscore\tb\ta\n0\t4.5\t2\t1\n", [(2, "1", "2")]),
        (TSV | {"short_rows": "skip"}, "a\tb\n1\n1\t2\n", [(3, "1", "2")]),
        (CSV, 'a,b\r\n"1,1","2\r\n2"\r\n3,4\r\n', [(2, "1,1", "2\r\n2"), (4, "3", "4")]),
        (
            JSONL,
            '{"a": "1", "b": 2}\n\n{"b": 3.80, "a": "\u2028"}\n',
            [(1, "1", "2"), (3, "\u2028", "3.8")],
        ),
        (
            JSONL,
            '{"a": "1", "b": true}\n{"a": "2", "b": null}\n{"a": "3"}',
            [(1, "1", "true"), (2, "2", None), (3, "3", None)],
        ),
        (TSV, "", []),
    ],
)
def test_every_format(data, text, rows):
    assert read(data, text, ["a", "b"]) == rows


@pytest.mark.parametrize(
    ("data", "text", "message"),
    [
        (TSV, "a\tbb\n1\t2\n", "f, line 1: no column 'b'; there are 'a', 'bb'; did you mean 'bb'"),
        (TSV, "a\tb\n1\t2\n1\n", "f, line 3: 1 columns, but 'b' is column 2"),
        (TSV, "a\tb\n1\t2\t3\n", "f, line 2: 3 columns, but the header has 2"),
        (BARE, "news\t4.5\t1\n", "f, line 1: 3 columns, but 'b' is column 4"),
        (
            TSV | {"columns": ["x", "y"]},
            "1\t2\n",
            "f, by `data.columns`: no column 'a'; there are 'x', 'y'",
        ),
        (CSV, 'a,b\n1,2\n1,"2\n', "f, line 3: not csv .*check quotes"),
        (JSONL, '{"a": 1, "b": 2}\n{"a": 1', "f, line 2: not JSON"),
        (JSONL, "[1, 2]\n", "f, line 1: not a JSON object"),
        (JSONL, '{"a": 1, "label": 2}\n', "f, line 1: no column 'b'; there are 'a', 'label'"),
        (TSV, b"a\tb\n1\t2\n1\t\xff\n", "f, line 3: not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_file_line_and_column(data, text, message):
    with pytest.raises(UserError, match=message) as caught:
        read(data, text, ["a", "b"])
    assert "\n" not in str(caught.value)


def test_a_missing_label_column_may_mean_an_unlabelled_split():
    with pytest.raises(
        UserError,
        match="no column 'Quality'; there are 'index', 'text'; if the split",
    ):
        read(TSV | {"label": "Quality"}, "index\ttext\n0\tx\n", ["text", "Quality"])


def test_bz2_and_rows_that_lack_a_value(tmp_path):
    path = tmp_path / "f.csv.bz2"
    path.write_bytes(bz2.compress(b"a,b\n1,2\n,4\n5,6\n"))
    assert read_rows(CSV | {"path": str(path)}, {}, ["a", "b"]) == [
        {"a": "1", "b": "2"},
        {"a": "5", "b": "6"},
    ]
    path.write_bytes(b"BZh9 no")
    with pytest.raises(UserError, match="not a complete bz2 file"):
        read_rows(CSV | {"path": str(path)}, {}, ["a"])
    with pytest.raises(UserError, match=r"missing\.csv.*No such file"):
        read_rows(CSV | {"path": str(tmp_path / "missing.csv")}, {}, ["a"])
