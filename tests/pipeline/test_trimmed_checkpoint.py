"""A trimmed vocabulary as a method of a study: the tokenizer is evaluated with the model."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

import embpress
from embpress import storage
from embpress.data.token_counts import write_counts
from embpress.errors import UserError
from embpress.fidelity.record import Infeasible, read_result
from embpress.files import write_json
from embpress.methods import TRIMMING, method_class
from embpress.models.embedding import find_embedding, write_metadata
from embpress.models.loading import load_model
from embpress.models.tokenization import load_tokenizer
from embpress.models.vocabulary import read_kept_ids
from embpress.pipeline.compression import FitInputs
from embpress.pipeline.evaluation import evaluate
from embpress.pipeline.study_export import PROVENANCE, StudyResult, export_study_result
from embpress.pipeline.trimmed_checkpoint import trim_checkpoint
from embpress.study.artefact import Artefact
from embpress.study.folders import checkpoint_folder
from embpress.tasks import kinds, task_class

from ..conftest import PIECES
from ..studies import load, make_study
from ..tasks.test_contract import SIZES, make, tiny_model

N = 15
RATIO = 1.13
RARE = "cat"
KINDS = [kind for kind in kinds() if not task_class(kind).entry_model.scores_tokens]


@pytest.fixture
def counts(tmp_path):
    """A file of counts by which RARE and another piece go first."""
    values = torch.full((len(PIECES),), 100)
    values[PIECES.index(RARE)] = values[PIECES.index("dog")] = 0
    write_counts(values, tmp_path / "counts.safetensors")
    return tmp_path / "counts.safetensors"


def write_checkpoint(model, tokenizer, folder):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write_metadata(model, tokenizer.all_special_ids, folder, {})


def trimmed(checkpoint, counts, folder, ratio=RATIO):
    artefact = Artefact(folder, TRIMMING, ratio, 0)
    result = trim_checkpoint(FitInputs(checkpoint, counts), artefact, lambda line: None)
    assert read_result(folder) == result
    return result


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_reads_its_texts_with_the_trimmed_tokenizer(kind, tmp_path, wordpiece, counts):
    task = make(kind, tmp_path)
    write_checkpoint(tiny_model(task, 0), wordpiece, tmp_path / "dense")
    trimmed(tmp_path / "dense", counts, tmp_path / "out")
    ((_, outcomes),) = evaluate(task, tmp_path / "dense", [tmp_path / "out"], lambda line: None)
    # The dense model on tokens of the trimmed tokenizer, by their ids before trimming.
    dense = load_model(tmp_path / "dense", task.head)
    old_ids = torch.tensor(read_kept_ids(tmp_path / "out"))
    seen = []

    def renumber(module, arguments):
        seen.append(arguments[0])
        return (old_ids[arguments[0]],)

    find_embedding(dense)[1].register_forward_pre_hook(renumber)
    tokenizer = load_tokenizer(tmp_path / "out")
    expected = task.outcomes(dense, tokenizer, lambda line: None)
    assert seen and outcomes.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(outcomes[name], values, atol=1e-5)
    assert tokenizer.tokenize(RARE) != wordpiece.tokenize(RARE) == [RARE]


def test_what_is_stored_and_what_leaves_with_it_is_counted(tmp_path, wordpiece, counts):
    torch.manual_seed(0)
    config = BertConfig(**SIZES, tie_word_embeddings=False)
    model = BertForMaskedLM(config)
    write_checkpoint(model, wordpiece, tmp_path / "dense")
    result = trimmed(tmp_path / "dense", counts, tmp_path / "out")
    d = config.hidden_size
    matrix = storage.load(tmp_path / "out")
    kept = read_kept_ids(tmp_path / "out")
    assert torch.equal(matrix.dense(), find_embedding(model)[1].weight[kept])
    assert len(kept) == N and result.stored_bits == matrix.stored_bits == 32 * N * d
    assert result.ratio == len(PIECES) / N and result.reconstruction is None
    # The untied head and its biases lose their rows too.
    shapes = [p.shape for p in model.parameters() if p.shape[0] == len(PIECES)]
    assert sorted(map(len, shapes)) == [1, 1, 2, 2]
    others = sum(p.numel() for p in model.parameters()) - len(PIECES) * d
    assert result.other_bits == 32 * (others - (len(PIECES) - N) * (d + 2))


def test_a_ratio_out_of_reach_is_a_result(tmp_path, wordpiece, counts):
    write_checkpoint(tiny_model(make(KINDS[0], tmp_path), 0), wordpiece, tmp_path / "dense")
    result = trimmed(tmp_path / "dense", counts, tmp_path / "out", 50)
    assert isinstance(result, Infeasible) and "lower ratio" in result.reason
    assert read_kept_ids(tmp_path / "out") is None


def test_a_result_is_exported_with_the_trimmed_tokenizer(tmp_path, wordpiece, counts):
    keys = {"kind": "similarity", "protocol": "zero_shot", "label": "x", "model": "m"}
    task = keys | {"corpus": "c", "data": {"package": "p", "path": "x", "sets": ["lee50"]}}
    entry = {"trimmed": {"method": TRIMMING, "ratios": [RATIO]}, "identity": {}}
    study = make_study(methods=entry, tasks={"t": task})
    results = tmp_path / "results"
    write_json(results / PROVENANCE, {"study": study.to_json()})
    checkpoint = checkpoint_folder(study, "m", 0, results)
    write_checkpoint(tiny_model(make("similarity", tmp_path), 0), wordpiece, checkpoint)
    folder = results / f"compressed/m/seed0/trimmed/{RATIO:g}"
    trimmed(checkpoint, counts, folder, RATIO)
    export_study_result(results, StudyResult("t", "trimmed"), tmp_path / "out")
    ids = load_tokenizer(folder)(f"the {RARE}", return_tensors="pt")
    again = load_tokenizer(tmp_path / "out")(f"the {RARE}", return_tensors="pt")
    assert torch.equal(again["input_ids"], ids["input_ids"])
    old_ids = torch.tensor(read_kept_ids(folder))[ids["input_ids"]]
    with torch.no_grad():
        expected = load_model(checkpoint, "encoder")(input_ids=old_ids).last_hidden_state
        states = embpress.load(tmp_path / "out")(input_ids=ids["input_ids"]).last_hidden_state
    torch.testing.assert_close(states, expected)


@pytest.mark.parametrize(
    ("methods", "tasks", "message"),
    [
        ({"modules": ["embedding"]}, {}, r"methods\.trimmed: .*modules"),
        ({"options": {"rank": 3}}, {}, r"methods\.trimmed: .*'rank'"),
        ({}, {"wikitext": None}, r"tasks\.wikitext: trimmed .*perplexity.*without trimmed"),
        ({}, {"rotten_distilled": None}, r"tasks\.rotten_distilled: trimmed .*without trimmed"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_job(methods, tasks, message, default_config):
    default_config["methods"]["trimmed"] = {"method": TRIMMING} | methods
    for name, task in default_config["tasks"].items():
        chosen = task.get("methods") or ["identity"]
        task["methods"] = [*chosen, "trimmed"] if name in tasks else chosen
    with pytest.raises(UserError, match=message):
        load(default_config)


def test_a_matrix_alone_is_not_trimmed():
    method = method_class(TRIMMING)()
    assert method.plan((100, 4), 4).sizes == {"n_kept": 25}
    with pytest.raises(UserError, match="tokenizer"):
        method.fit(torch.randn(100, 4), method.plan((100, 4), 4), None)
    with pytest.raises(UserError, match="tokenizer"):
        embpress.compress(torch.randn(100, 4), TRIMMING, 4)
