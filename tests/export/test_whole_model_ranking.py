"""Codes of a whole model ranked at a size, by API and by the command `budget`."""

import json
import shlex

import pytest

from embpress.cli import main
from embpress.errors import InfeasibleRatio, UserError
from embpress.export import whole_model_ranking
from embpress.export.ranking import MEGABYTE
from embpress.export.whole_model_ranking import CODES, NO_TEXTS, _code, rank_whole_models
from embpress.methods._code_options import BASELINES, CodeOptions
from embpress.study.yaml_files import read_yaml

from ..studies import ROOT
from .test_whole_model import dense

TEXTS = [f"w{5 + i % 9} w{6 + i % 7} w9 w{7 + i % 3}" for i in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranked")
    dense(root / "dense")
    (root / "texts.txt").write_text("\n".join(TEXTS))
    return root


def test_codes_keep_the_size_and_the_one_code_diverges_least(folder):
    megabytes = 0.006
    ranking = rank_whole_models(folder / "dense", megabytes, calibration=TEXTS)
    assert {candidate.label for candidate in ranking.candidates} == set(CODES)
    assert all(candidate.bytes <= megabytes * MEGABYTE for candidate in ranking.candidates)
    losses = [candidate.loss for candidate in ranking.candidates]
    assert losses == sorted(losses) and losses[0] > 0
    assert ranking.best.options == {}
    larger = rank_whole_models(folder / "dense", 1.3 * megabytes, calibration=TEXTS)
    assert larger.best.loss < ranking.best.loss


def test_without_texts_only_codes_without_data_are_compared(folder):
    ranking = rank_whole_models(folder / "dense", 0.006)
    labels = {candidate.label for candidate in ranking.candidates}
    assert labels == set(NO_TEXTS) and "WaterSIC's core" not in labels


def test_the_study_of_ablations_has_the_same_baselines():
    methods = read_yaml(ROOT / "studies/whole-ablations.yaml")["methods"].values()
    options = {entry.get("label"): entry.get("options") for entry in methods}
    assert {label: options[label] for label in BASELINES} == BASELINES


def test_sizes_out_of_range_are_refused(folder):
    with pytest.raises(UserError, match="MB is no size"):
        rank_whole_models(folder / "dense", 100)
    with pytest.raises(InfeasibleRatio):
        rank_whole_models(folder / "dense", 0.0001)


def test_codes_that_do_not_fit_are_left_out_and_told(folder, monkeypatch):
    label = NO_TEXTS[-1]
    impossible = [CodeOptions.parse(CODES[label])]

    def code(opened, reference, options, budget):
        if options in impossible:
            raise InfeasibleRatio("too large")
        return _code(opened, reference, options, budget)

    monkeypatch.setattr(whole_model_ranking, "_code", code)
    said = []
    ranking = rank_whole_models(folder / "dense", 0.006, progress=said.append)
    assert {candidate.label for candidate in ranking.candidates} == {*NO_TEXTS} - {label}
    assert any(label in line and "too large" in line for line in said)
    impossible += [CodeOptions.parse(options) for options in CODES.values()]
    with pytest.raises(InfeasibleRatio, match=r"0\.006 MB.*too large.*more megabytes"):
        rank_whole_models(folder / "dense", 0.006)


@pytest.mark.parametrize("has_texts", [True, False])
def test_the_printed_command_makes_what_was_promised(folder, tmp_path, capsys, has_texts):
    words = ["budget", "--model", str(folder / "dense"), "--megabytes", "0.006"]
    words += ["--matrices", "all"]
    words += ["--calibration", str(folder / "texts.txt")] if has_texts else []
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    command = shlex.split(printed["command"])
    command[command.index("--out") + 1] = str(tmp_path / "out")
    assert main([*command[1:], "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["model_after"] == printed["candidates"][0]["bytes"]
    assert main(words) == 0
    table = capsys.readouterr().out
    assert all(candidate["label"] in table for candidate in printed["candidates"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--calibration", "texts.txt"], ("--calibration", "--matrices all")),
        (["--matrices", "all", "--methods", "svd"], ("--methods", "--matrices all")),
        (["--matrices", "all", "--scores", "scores.csv"], ("--scores",)),
    ],
)
def test_options_that_do_not_belong_together_are_refused(folder, capsys, arguments, words):
    command = ["budget", "--model", str(folder / "dense"), "--megabytes", "0.006", *arguments]
    assert main(command) == 1
    message = capsys.readouterr().err
    assert all(word in message for word in words)
