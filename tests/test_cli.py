"""The commands as the README and the guides show them, and their messages for wrong input."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

import embpress
from embpress.analysis.scores import write_scores
from embpress.cli import main
from embpress.commands.compress import parse_options
from embpress.errors import UserError

from .conftest import PIECES, ROOT
from .export.test_ranking import scores_of
from .fake_study import fake_labels, fake_scores
from .zoo import tiny

README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/guides/compress.md").read_text()


@pytest.fixture
def model_folder(tmp_path, wordpiece, monkeypatch):
    """A model folder with an embedding of 3 MB, a tokenizer, and a file of counts beside it."""
    torch.manual_seed(0)
    sizes = dict(hidden_size=192, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    model = BertForMaskedLM(BertConfig(vocab_size=4000, max_position_embeddings=32, **sizes))
    model.save_pretrained(tmp_path / "DIR")
    wordpiece.save_pretrained(tmp_path / "DIR")
    (tmp_path / "counts.tsv").write_text("".join(f"{p}\t{10 * i}\n" for i, p in enumerate(PIECES)))
    (tmp_path / "texts.txt").write_text("the cat\nthe cats\n" * 4)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "DIR"


def test_what_the_readme_shows_runs(model_folder, capsys):
    section = README.split("**Compress your own model.**")[1].split("**Add a method.**")[0]
    lines = re.findall(r"^embpress (.*)$", section, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        assert main(shlex.split(line, comments=True)) == 0, line
    printed = capsys.readouterr().out
    assert "best under 1 MB: " in printed and "embpress compress --model DIR --method" in printed
    assert "bert.encoder.layer.*" in printed and "not an embedding" in printed
    for page in (README, GUIDE):
        python = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
        exec(compile(python, "example", "exec"), {})
    assert type(embpress.load("DIR-again")).__name__ == "BertForMaskedLM"


def test_the_command_that_budget_prints_gives_what_it_promised(model_folder, capsys):
    words = "budget --model DIR --megabytes 0.7 --methods integer,svd --json"
    assert main(words.split()) == 0
    ranking = json.loads(capsys.readouterr().out)
    assert main(shlex.split(ranking["command"])[1:]) == 0
    capsys.readouterr()
    assert main(["inspect", "DIR-0.7MB", "--json"]) == 0
    assert (
        json.loads(capsys.readouterr().out)["embedding_after"]
        == ranking["candidates"][0]["bytes"]
        <= 700_000
    )


@pytest.mark.parametrize(
    "words, sentence",
    [
        (
            "compress --model nowhere --method svd --ratio 4 --out out",
            "nowhere is neither a folder",
        ),
        ("compress --model DIR --method sdv --ratio 4 --out out", "there is no method 'sdv'"),
        ("compress --model DIR --method svd --ratio 0.5 --out out", "ratio 0.5 is below 1"),
        ("compress --model DIR --method svd --ratio nan --out out", "the ratio is nan"),
        ("compress --model DIR --method svd --ratio 1e9 --out out", "lower ratio"),
        ("compress --model DIR --method svd --ratio 4 --option rank --out out", "KEY=VALUE"),
        (
            "compress --model DIR --method svd --ratio 4 --option rank=3 --out out",
            "has no option 'rank'",
        ),
        (
            "compress --model DIR --method t24 --ratio 4 --counts no.tsv --out out",
            "no.tsv",
        ),
        (
            "compress --model DIR --method svd --ratio 4 --out DIR",
            "DIR contains files",
        ),
        ("compress --model DIR --method svd --ratio 4 --out counts.tsv", "counts.tsv is a file"),
        ("budget --model DIR --megabytes 5", "nothing to compress"),
        ("budget --model DIR --megabytes -1", "-1 MB"),
        ("budget --model DIR --megabytes 0.0001 --methods svd", "no method fits into 0.0001 MB"),
        ("budget --model DIR --megabytes 1 --methods svdd", "there is no method 'svdd'"),
        ("budget --model DIR --megabytes 1 --methods svd --scores counts.tsv", "counts.tsv"),
        ("inspect DIR", "DIR is not a compressed model"),
    ],
)
def test_errors_are_one_sentence_and_status_1(model_folder, capsys, words, sentence):
    assert main(words.split()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("embpress: ") and sentence in error
    assert not (model_folder.parent / "out").exists()
    assert not list(model_folder.parent.glob(".*"))  # no half-written folder is left


@pytest.mark.parametrize(
    ("words", "culprits"),
    [
        ("compress --method nosuch --ratio 4 --out out", ["nosuch", "there are"]),
        ("compress --ratio 0 --out out", ["ratio 0", "below 1"]),
        ("compress --method integer --ratio 500 --out out", ["lower ratio"]),
        ("compress --ratio 1e9 --out out", ["lower ratio"]),
        ("compress --method svd --ratio 4 --option factor_dtype=int3 --out out", ["factor_dtype"]),
        ("compress --method svd --ratio 4 --head integer@0 --out out", ["integer@0", "below 1"]),
        ("compress --method svd --ratio 4 --head integer@500 --out out", ["lower ratio"]),
        ("compress --method svd --ratio 4 --out /proc/out", ["/proc/out", "name another"]),
        ("compress --method svd --ratio 4 --out DIR/inner", ["DIR/inner", "DIR"]),
        ("compress --matrices all --ratio 4 --out /proc/out", ["/proc/out", "name another"]),
        ("compress --matrices all --ratio 4 --out DIR/inner", ["DIR/inner", "DIR"]),
        ("compress --matrices all --ratio 1e9 --out out", ["ratio below"]),
        ("budget --megabytes 500", ["nothing to compress"]),
        ("budget --megabytes 1 --scores counts.tsv", ["counts.tsv"]),
        ("budget --megabytes 0.0001 --matrices all", ["0.0001 MB", "more megabytes"]),
    ],
)
def test_nothing_is_counted_or_fitted_before_what_cannot_succeed(
    model_folder, capsys, monkeypatch, words, culprits
):
    def work(*arguments, **options):
        raise AssertionError("work that is lost")

    for name in ("choice.count_files", "compress.compress", "ranking.compress"):
        monkeypatch.setattr(f"embpress.export.{name}", work)
    assert main([*words.split(), "--model", "DIR", "--text", "texts.txt"]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(culprit in error for culprit in culprits)
    assert not list(model_folder.parent.glob("*out")) and not list(model_folder.parent.glob(".*"))


@pytest.mark.parametrize(
    "words",
    [
        ["compress", "--model", "DIR", "--ratio", "4", "--out", ""],
        ["compress", "--model", "", "--ratio", "4", "--out", "out"],
        ["compress", "--model", "DIR", "--ratio", "4", "--out", "out", "--text", ""],
        ["budget", "--model", "", "--megabytes", "1"],
        ["inspect", ""],
        ["export", "DIR", "--onnx", ""],
        ["export-study", "", "--task", "a", "--method", "b", "--out", "out"],
        ["table", ""],
    ],
)
def test_an_empty_name_is_not_the_working_folder(model_folder, capsys, words):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "empty" in capsys.readouterr().err
    for function in (embpress.compress_model, embpress.compress_whole_model):
        with pytest.raises(UserError, match="empty"):
            function("", "out", ratio=4)
        with pytest.raises(UserError, match="empty"):
            function("DIR", "", ratio=4)


@pytest.mark.parametrize(
    ("words", "culprits"),
    [
        ("export DIR --gguf /proc/x", ["/proc/x", "name another"]),
        ("export DIR --gguf no/x.gguf", ["no/x.gguf", "exists"]),
        ("export DIR --onnx /proc/x", ["/proc/x", "name another"]),
        ("export DIR --compressed-tensors /proc/x", ["/proc/x", "name another"]),
        ("export-study DIR --task a --method b --out /proc/x", ["/proc/x", "name another"]),
        ("export DIR --gguf x.gguf --contrib", ["--contrib", "--onnx"]),
        ("export DIR --contrib", ["--contrib", "--onnx"]),
        ("export DIR", ["--onnx", "--gguf"]),
    ],
)
def test_exports_check_their_output_first(model_folder, capsys, words, culprits):
    for package in ("onnx", "gguf"):
        if f"--{package} " in words:
            pytest.importorskip(package)
    assert main(words.split()) == 1  # DIR is no compressed model, which is found out later
    (error,) = capsys.readouterr().err.splitlines()
    assert all(culprit in error for culprit in culprits) and error.count("embpress") == 1


def test_an_earlier_artefact_is_replaced_and_is_no_model_to_compress(model_folder, capsys):
    for method in ("integer", "svd"):
        assert main(f"compress --model DIR --method {method} --ratio 3 --out out".split()) == 0
    assert embpress.inspect("out").method == "svd"
    assert (
        main(["compress", "--model", "out", "--method", "svd", "--ratio", "3", "--out", "more"])
        == 1
    )
    assert "already compressed" in capsys.readouterr().err


def test_only_pickled_weights_are_refused(tmp_path, capsys):
    model = tiny("bert")
    model.config.save_pretrained(tmp_path / "pickled")
    torch.save(model.state_dict(), tmp_path / "pickled" / "pytorch_model.bin")
    assert (
        main(
            [
                "compress",
                "--model",
                str(tmp_path / "pickled"),
                "--method",
                "svd",
                "--ratio",
                "2",
                "--out",
                "x",
            ]
        )
        == 1
    )
    assert "no complete BertModel in safetensors" in capsys.readouterr().err


def test_a_model_of_another_head_than_its_config_says_is_refused(tmp_path, capsys):
    tiny("bert").save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(
        json.dumps(config | {"architectures": ["BertForMaskedLM"]})
    )
    assert (
        main(
            [
                "compress",
                "--model",
                str(tmp_path / "m"),
                "--method",
                "svd",
                "--ratio",
                "2",
                "--out",
                "x",
            ]
        )
        == 1
    )
    assert "weights of BertForMaskedLM, first cls.predictions" in capsys.readouterr().err


def test_options_are_json_or_text():
    assert parse_options(["a=3", "b=true", "c=float16", "d=[1, 2]"]) == {
        "a": 3,
        "b": True,
        "c": "float16",
        "d": [1, 2],
    }
    with pytest.raises(UserError):
        parse_options(["=3"])


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from embpress.cli import build_parser; build_parser().format_help(); "
        "print({'torch', 'pandas'} & {*sys.modules})"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        ).stdout
        == "set()\n"
    )


def test_the_installed_command_is_main():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"embpress": "embpress.cli:main"}


def test_budget_estimates_retention_from_a_studys_scores(model_folder, capsys):
    path = scores_of(model_folder.parent / "scores.csv", lambda error: 100 * (1 - error))
    assert (
        main(f"budget --model DIR --megabytes 0.7 --methods integer,svd --scores {path}".split())
        == 0
    )
    printed = capsys.readouterr().out
    assert "retention (estimate)" in printed and re.search(
        r"off by \d+\.\d points on average", printed
    )


@pytest.fixture
def finished_study(tmp_path, monkeypatch):
    """Scores of a made-up study in the place that the guide's commands read."""
    (tmp_path / "results").mkdir()
    write_scores(fake_scores(), tmp_path / "results/scores.csv")
    labels = dataclasses.asdict(fake_labels())
    (tmp_path / "results/labels.json").write_text(json.dumps(labels))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_slices_that_the_guide_shows_are_printed(finished_study, capsys):
    guide = (ROOT / "docs/guides/reproduce.md").read_text()
    lines = re.findall(r"^embpress (table .*?)(?: +#.*)?$", guide, re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        assert main(shlex.split(line)) == 0, line
    assert "Target ratio 10×" in capsys.readouterr().out


def test_a_slice_holds_what_was_asked_alone(finished_study, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert (
        main(
            [
                "table",
                "results/scores.csv",
                "--task",
                "wikitext",
                "--ratio",
                "10",
                "--ratio",
                "25",
                "--method",
                "svd",
                "--method",
                "t24",
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    assert re.findall(r"^Target ratio (\d+)×", printed, re.MULTILINE) == ["10", "25"]
    heads, *lines = printed.splitlines()
    assert heads.split() == ["Method", "achieved", "wikitext", "ret."]
    assert {line.split("  ")[0] for line in lines[:7]} >= {
        "uncompressed",
        "SVD",
        "T24 sparse coding†",
    }
    assert max(map(len, printed.splitlines())) <= 60
    assert "methods shown" in printed
    assert main(["table", "results/scores.csv", "--ratio", "10"]) == 0
    assert "methods shown" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "table results/scores.csv --task rotting",
            "the study has no task rotting; it has rotten, bitext",
        ),
        ("table results/scores.csv --ratio 5", "the study has no ratio 5.0"),
        ("table none.csv", "there is no file none.csv"),
        ("table bare/scores.csv", "labels.json"),
        ("table results/labels.json", "labels.json lacks column(s) study"),
    ],
)
def test_a_slice_that_is_not_there_ends_on_one_sentence(finished_study, capsys, words, sentence):
    (finished_study / "bare").mkdir()
    write_scores(fake_scores(), finished_study / "bare/scores.csv")
    assert main(words.split()) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert sentence in error
