"""Results of a study as exported models: they predict what the study evaluated."""

import shutil

import pytest
import torch

import embpress
from embpress.cli import main
from embpress.errors import UserError
from embpress.files import write_json
from embpress.pipeline.compression import FitInputs, compress_checkpoint
from embpress.pipeline.evaluation import evaluate
from embpress.pipeline.layer_compression import compress_modules
from embpress.pipeline.study_export import PROVENANCE, StudyResult, export_study_result
from embpress.pipeline.whole_model_compression import compress_whole_model
from embpress.study.folders import checkpoint_folder, evaluated_artefacts
from embpress.training.loop import TrainingContext
from embpress.training.students import StudentInputs, distil_on_task

from ..studies import make_study
from .test_whole_model_compression import STAGE, folder, task_of, tuned_inputs  # noqa: F401

KINDS = ["embedding", "query", "key", "value", "attention_output", "intermediate", "output"]
METHODS = {
    "identity": {},
    "whole": {"method": "ectcq", "modules": "all", "ratios": [3]},
    "stacked": {"method": "svd", "modules": KINDS, "share": "layers", "ratios": [2, 1.5]},
    "kron": {"method": "kronecker", "modules": KINDS, "ratios": [2]},
    "queries": {"method": "integer", "modules": ["query"], "ratios": [3]},
    "int8": {"method": "integer", "ratios": [3]},
}


@pytest.fixture
def study(folder):  # noqa: F811
    """A study of the pairs of `folder`, whose results are there."""
    keys = {"label": "x", "model": "m", "corpus": "c", "protocol": "finetune_then_compress"}
    keys |= {"kind": "classification", "max_length": 16, "finetune": STAGE}
    data = {"format": "jsonl", "text": ["a", "b"], "label": "y", "labels": ["no", "yes"]}
    keys["data"] = data | {"train": "train.jsonl", "test": "test.jsonl"}
    student = {key: keys[key] for key in ("model", "corpus", "kind", "max_length", "data")}
    student |= {"label": "y", "protocol": "compress_then_distil", "checkpoint": "pairs"}
    tasks = {"pairs": keys, "student": student | {"distil": {"stage2": STAGE}}}
    study = make_study(methods=METHODS, tasks=tasks)
    results = folder / "results"
    write_json(results / PROVENANCE, {"study": study.to_json()})
    shutil.copytree(folder / "tuned", checkpoint_folder(study, "pairs", 0, results))
    return study


def fitted(study, folder, method):  # noqa: F811
    """The folder of a method's matrices at its first ratio, as the workflow fits them."""
    artefact = evaluated_artefacts(study, "pairs", method, 0, folder / "results")[0]
    settings = study.variants[method].fit_settings(artefact.ratio)
    inputs = FitInputs(folder / "tuned", folder / "counts.safetensors")
    if settings.codes_whole_model:
        compress_whole_model(tuned_inputs(folder), settings, artefact, lambda line: None)
    elif settings.compresses_layers:
        compress_modules(inputs, settings, artefact, lambda line: None)
    else:
        compress_checkpoint(inputs, settings.matrices[0], artefact, lambda line: None)
    return artefact.folder


def check_predictions(folder, artefact, exported):  # noqa: F811
    """An exported model gives the logits of the evaluated one, but for weights in 16 bits."""
    task = task_of(folder, "test")
    logits = []
    original = type(task).outcomes

    def outcomes(self, model, tokenizer, progress):
        logits.append(model(input_ids=torch.tensor([[2, 14, 11, 5, 3]])).logits)
        return original(self, model, tokenizer, progress)

    task.outcomes = outcomes.__get__(task)
    list(evaluate(task, folder / "tuned", [artefact], lambda line: None))
    loaded = embpress.load(exported)
    own = loaded(input_ids=torch.tensor([[2, 14, 11, 5, 3]])).logits
    torch.testing.assert_close(own, logits[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("method", ["whole", "stacked", "kron", "queries", "int8"])
def test_an_exported_result_predicts_what_was_evaluated(study, folder, method, capsys):  # noqa: F811
    artefact = fitted(study, folder, method)
    command = ["export-study", str(folder / "results"), "--task", "pairs", "--method", method]
    command += ["--ratio", "2"] if method == "stacked" else []
    assert main([*command, "--out", str(folder / "out")]) == 0
    assert "BertForSequenceClassification" in capsys.readouterr().out
    check_predictions(folder, artefact, folder / "out")


@pytest.mark.parametrize("method", ["whole", "kron"])
def test_a_student_is_exported_with_its_own_weights(study, folder, method):  # noqa: F811
    start = fitted(study, folder, method)
    artefact = evaluated_artefacts(study, "student", method, 0, folder / "results")[0]
    inputs = StudentInputs(folder / "tuned", start, folder / "counts.safetensors")
    task = task_of(folder, "train", "test", student=True)
    distil_on_task(folder / "tuned", inputs, task, TrainingContext(seed=0), artefact.folder)
    export_study_result(folder / "results", StudyResult("student", method), folder / "out")
    check_predictions(folder, artefact.folder, folder / "out")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (StudyResult("pair", "whole"), "task.*'pair'.*pairs"),
        (StudyResult("pairs", "wholes"), "method 'wholes'.*whole"),
        (StudyResult("pairs", "identity"), "method 'identity'"),
        (StudyResult("pairs", "stacked"), "ratios 2, 1.5"),
        (StudyResult("pairs", "whole", 4), "ratios 3.*4"),
        (StudyResult("pairs", "whole", seed=7), "seed 7.*0"),
        (StudyResult("pairs", "whole"), "no folder .*whole/3"),
    ],
)
def test_a_result_that_is_not_there_is_named(study, folder, chosen, words):  # noqa: F811
    with pytest.raises(UserError, match=words):
        export_study_result(folder / "results", chosen, folder / "out")
    assert not (folder / "out").exists()


def test_a_folder_without_a_finished_study_is_refused(study, folder):  # noqa: F811
    with pytest.raises(UserError, match="provenance.json"):
        export_study_result(folder, StudyResult("pairs", "whole"), folder / "out")
    (folder / "results" / PROVENANCE).write_text("[]")
    with pytest.raises(UserError, match="provenance.json.*study again"):
        export_study_result(folder / "results", StudyResult("pairs", "whole"), folder / "out")
