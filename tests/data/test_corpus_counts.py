"""Counting by shards in several processes, compared with one count of all texts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from embpress.data import corpus_counts, shards, words
from embpress.data.corpus_counts import CountOutputs, CountSettings, count_corpus
from embpress.data.shards import iterate_texts, list_shards
from embpress.data.texts import read_texts
from embpress.data.words import count_words, write_words
from embpress.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A folder of about 20 shards, whose words differ in spaces, case or line separators only."""
    monkeypatch.setattr(shards, "SHARD_BYTES", 2000)
    folder = tmp_path / "corpus"
    folder.mkdir()
    for file in range(4):
        lines = [
            f"word{i % 37} Word{i % 5},  \tthe {'rare' * (i % 11)} back\\slash\u2028x {file}-{i}"
            for i in range(200)
        ]
        (folder / f"{file}.txt").write_text("\n".join(lines))
    return folder


def outputs_in(folder):
    return CountOutputs(folder / "words.tsv", folder / "counted.jsonl", folder / "held_out.jsonl")


def run(corpus, out, segmenter="whitespace", held_out=0.0, processes=2):
    """Count, and return the progress messages."""
    told = []
    count_corpus(
        list_shards(corpus, "text"),
        CountSettings(segmenter, held_out),
        outputs_in(out),
        out / "shards",
        processes,
        told.append,
    )
    return told


def counted_at_once(texts, segmenter, path):
    write_words(count_words(texts, segmenter), path)
    return path.read_bytes()


@pytest.mark.parametrize("segmenter", ["whitespace", "runs", "mecab", "mecab_nfkc"])
def test_the_table_has_the_bytes_of_one_count(corpus, tmp_path, monkeypatch, segmenter):
    monkeypatch.setattr(words, "SORTED_AT_ONCE", 100)
    monkeypatch.setattr(words, "MERGED_AT_ONCE", 3)
    told = run(corpus, tmp_path / "out", segmenter)
    texts = [text for path in sorted(corpus.iterdir()) for text in path.read_text().split("\n")]
    n_shards = len(list_shards(corpus, "text"))
    assert n_shards > 15 and told[-1].startswith(f"{n_shards}/{n_shards} shards, ")
    assert outputs_in(tmp_path / "out").words.read_bytes() == counted_at_once(
        texts, segmenter, tmp_path / "once.tsv"
    )
    assert not (tmp_path / "out/shards").exists()


def test_held_out_texts_are_not_counted_and_the_rest_is_excerpted_from_everywhere(
    corpus, tmp_path, monkeypatch
):
    monkeypatch.setattr(corpus_counts, "EXCERPT_TEXTS", 40)
    run(corpus, tmp_path, held_out=0.25)
    found = list_shards(corpus, "text")
    held_out = [text for shard in found for text in list(iterate_texts(shard))[::4]]
    counted = [text for shard in found for i, text in enumerate(iterate_texts(shard)) if i % 4]
    assert read_texts(tmp_path / "held_out.jsonl") == held_out
    assert (tmp_path / "words.tsv").read_bytes() == counted_at_once(
        counted, "whitespace", tmp_path / "once.tsv"
    )
    excerpt = read_texts(tmp_path / "counted.jsonl")
    assert (
        40 <= len(excerpt) < 40 + len(found)
        and set(excerpt) <= set(counted)
        and excerpt[-1].split()[-1][0] == "3"
    )


def test_a_broken_shard_ends_the_count_and_the_others_stay_counted(corpus, tmp_path):
    (corpus / "9.txt").write_bytes(b"good\n\xff\n")
    with pytest.raises(UserError, match="9.txt, line 2: not UTF-8"):
        run(corpus, tmp_path, processes=1)
    assert len(list((tmp_path / "shards").glob("*.tsv"))) == len(list_shards(corpus, "text")) - 1
    assert not (tmp_path / "words.tsv").exists()
    (corpus / "9.txt").write_bytes(b"good\n")
    assert run(corpus, tmp_path)[-1].startswith("1/1 shards")


def test_other_settings_and_changed_files_are_counted_anew(corpus, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus_counts, "merge_words", stop)
    for change in ("nothing", "segmenter", "file"):
        if change == "file":
            (corpus / "0.txt").write_text("new")
        with pytest.raises(KeyboardInterrupt):
            run(corpus, tmp_path, "whitespace" if change == "nothing" else "runs")
        assert len(list((tmp_path / "shards").glob("*.tsv"))) == len(list_shards(corpus, "text"))


def test_nothing_but_blank_lines_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("\n \n\n")
    with pytest.raises(UserError, match="no text to count"):
        run(tmp_path / "in", tmp_path)


SLOWLY = """
import sys, time
from pathlib import Path
from embpress.data import corpus_counts, shards
from embpress.data.corpus_counts import CountOutputs, CountSettings, count_corpus

corpus, out = map(Path, sys.argv[1:])
shards.SHARD_BYTES = 2000
count_words = corpus_counts.count_words

def count_slowly(*arguments):
    time.sleep(0.1)
    return count_words(*arguments)

corpus_counts.count_words = count_slowly
outputs = CountOutputs(out / "words.tsv", out / "counted.jsonl", out / "held_out.jsonl")
shards = shards.list_shards(corpus, "text")
count_corpus(shards, CountSettings("whitespace"), outputs, out / "shards", 2, print)
"""


def test_a_killed_count_goes_on_where_it_was_and_leaves_no_process(corpus, tmp_path):
    out = tmp_path / "out"
    started = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, corpus, out], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while len(list(out.glob("shards/*.tsv"))) < 5:
        assert started.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    started.kill()
    started.wait()
    deadline = time.monotonic() + 10
    while any(_runs(pid) for pid in children):
        assert time.monotonic() < deadline, "a counting process outlived the one that started it"
        time.sleep(0.05)
    done = {path: path.stat().st_mtime_ns for path in out.glob("shards/*.tsv")}
    assert (
        len(children) == 2
        and 5 <= len(done) < len(list_shards(corpus, "text"))
        and not (out / "words.tsv").exists()
    )
    told = run(corpus, out)
    assert told[-1].split()[0] == "{0}/{0}".format(len(list_shards(corpus, "text")) - len(done))
    run(corpus, tmp_path / "unbroken")
    for name in ("words.tsv", "counted.jsonl", "held_out.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def _runs(pid):
    """Whether a process runs, and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_counting_process_is_told(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(
        corpus_counts, "count_words", lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    )
    with pytest.raises(UserError, match="killed.*out of memory"):
        run(corpus, tmp_path)
