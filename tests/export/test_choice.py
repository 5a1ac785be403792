"""What `compress` chooses by itself: model of the hub, method, token counts."""

import io
import json

import huggingface_hub.constants
import pytest
import torch
from transformers import BertConfig, BertModel

from embpress import RankingSettings, compress_model, inspect, load, rank_methods
from embpress.cli import main
from embpress.data import found_counts
from embpress.data.found_counts import prior_counts, vocabulary_digest, write_known_counts
from embpress.errors import InfeasibleRatio, UserError
from embpress.export.choice import choose_method
from embpress.export.model_source import locate_model
from embpress.export.progress_line import ProgressLine
from tests.conftest import PIECES, wordpiece_tokenizer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tmp_path):
    """A folder with a model large enough for the best method, and a tokenizer."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=1500,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(tmp_path / "model")
    wordpiece_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def error_of_row(folder, out, row):
    """Relative squared error of one row of a compressed model."""
    dense = BertModel.from_pretrained(folder).get_input_embeddings().weight[row].detach()
    found = load(out).embedding_slot.matrix.rows(torch.tensor([row]))[0]
    return float((found - dense).square().sum() / dense.square().sum())


def test_the_simplest_call_works(model, tmp_path, capsys):
    words = ["compress", "--model", str(model), "--ratio", "6", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    said = capsys.readouterr()
    found = inspect(tmp_path / "out")
    assert found.method == "entropy_coded_trellis" and found.embedding_ratio >= 6
    assert "entropy_coded_trellis" in said.err and (said.out + said.err).count("prior") == 1


def test_texts_are_counted_on_the_way(model, tmp_path):
    (tmp_path / "a.txt").write_text("cat cat cat\n" * 500)
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "cat"}) + "\n")
    texts = [tmp_path / "a.txt", tmp_path / "b.jsonl"]
    done = compress_model(model, tmp_path / "out", ratio=8, texts=texts)
    assert "a.txt" in done.counts_source and "b.jsonl" in done.counts_source
    cat, dog = (PIECES.index(piece) for piece in ("cat", "dog"))
    errors = [error_of_row(model, tmp_path / "out", row) for row in (cat, dog)]
    assert errors[0] < errors[1] / 2
    with pytest.raises(UserError, match="--counts or --text"):
        compress_model(model, tmp_path / "out", ratio=8, texts=texts, counts=torch.ones(1500))
    with pytest.raises(UserError, match=r"b\.csv.*\.jsonl"):
        compress_model(model, tmp_path / "out", ratio=8, texts=[tmp_path / "b.csv"])


def test_counts_of_the_package_belong_to_the_same_vocabulary(model, tmp_path, monkeypatch):
    monkeypatch.setattr(found_counts, "FOLDER", tmp_path)
    tokenizer = wordpiece_tokenizer()
    counts = torch.zeros(len(PIECES), dtype=torch.int64)
    counts[PIECES.index("cat")] = 1000
    about = {"tokenizer": "a toy", "source": "a text about cats", "licence": "none"}
    write_known_counts(tmp_path / "toy.safetensors", counts, tokenizer, about)
    found = found_counts.find_counts(tokenizer, 1500, [])
    assert torch.equal(found.counts[: len(counts)], counts) and "a text about cats" in found.source
    tokenizer.add_tokens(["<file>"])  # an added token changes no other
    assert found_counts.find_counts(tokenizer, 1500, []).source == found.source
    other = wordpiece_tokenizer()
    other.backend_tokenizer.model = type(other.backend_tokenizer.model)(
        {piece: i for i, piece in enumerate(reversed(PIECES))}, unk_token="[UNK]"
    )
    assert vocabulary_digest(other) != vocabulary_digest(tokenizer)
    assert "prior" in found_counts.find_counts(other, 1500, []).source


def test_the_tables_of_the_package_name_their_source():
    from safetensors import safe_open

    tables = sorted(found_counts.FOLDER.glob("*.safetensors"))
    assert len(tables) >= 3 and sum(path.stat().st_size for path in tables) < 500_000
    digests = set()
    for path in tables:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            ids, counts = file.get_tensor("ids"), file.get_tensor("counts")
        assert about["source"] and about["tokenizer"] and about["licence"]
        digests.add(about["digest"])
        assert counts.min() >= 2 and counts.sum() > 400_000 and (ids.diff() > 0).all()
    assert len(digests) == len(tables)


def test_the_prior_falls_with_the_id_except_for_special_tokens():
    counts = prior_counts(1000, [999])
    assert (counts[:999].diff() <= 0).all() and counts[0] > 5 * counts[998] > 0
    assert counts[999] == counts[0]


def test_budget_prints_a_command_that_works_without_counts(model, tmp_path, monkeypatch):
    settings = RankingSettings(methods=["ectcq", "svd"])
    ranking = rank_methods(model, 0.03, settings)
    assert ranking.best.method == "ectcq" and "prior" in ranking.counts_source
    monkeypatch.chdir(tmp_path)
    done = compress_model(model, "out", ranking.best.method, ranking.target_ratio)
    assert done.embedding_after <= 30_000


def test_a_small_matrix_gets_a_method_that_reaches_the_ratio():
    assert choose_method((30522, 384), 10) == "entropy_coded_trellis"
    assert choose_method((60, 8), 3) != "entropy_coded_trellis"
    with pytest.raises(InfeasibleRatio):
        choose_method((4, 4), 1000)


def test_a_model_of_the_hub_is_read_from_the_cache(model, tmp_path, monkeypatch):
    cached = tmp_path / "hub/models--owner--name"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/v2").write_text(COMMIT)
    (cached / "snapshots").mkdir()
    model.rename(cached / "snapshots" / COMMIT)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for revision in (COMMIT, "v2"):
        done = compress_model(f"owner/name@{revision}", tmp_path / revision, "svd", 2)
        assert done.shape == (1500, 32)
    with pytest.raises(UserError, match="owner/name at revision main"):
        locate_model("owner/name")
    with pytest.raises(UserError, match="owner/name@revision"):
        locate_model(tmp_path / "nowhere/at/all")


def test_progress_gives_the_time_left(monkeypatch):
    now = iter([0.0, 10.0, 20.0, 20.0])
    monkeypatch.setattr("embpress.export.progress_line.monotonic", lambda: next(now))
    stream = io.StringIO()
    progress = ProgressLine(stream)
    progress("0/400 rows")
    progress("100/400 rows")
    progress("400/400 rows")
    progress("done")
    lines = stream.getvalue().splitlines()
    assert lines == ["0/400 rows", "100/400 rows, about 30 s left", "400/400 rows", "done"]


def test_on_a_terminal_a_step_has_one_line(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    progress = ProgressLine(stream)
    for message in ("token counts: a prior", "1/3 rows", "2/3 rows", "step 1/9"):
        progress(message)
    progress.close()
    shown = [line.split("\r\x1b[K")[-1] for line in stream.getvalue().rstrip("\n").split("\n")]
    assert shown == ["token counts: a prior", "2/3 rows", "step 1/9"]
