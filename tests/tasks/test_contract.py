"""What every kind of task must do. Kinds are found by scanning, as studies find them.

A kind's sample data are in `samples/KIND.py`.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from transformers import BertConfig

from embpress.errors import UserError
from embpress.models.loading import auto_class
from embpress.pipeline.compression import FitInputs, compress_checkpoint
from embpress.pipeline.evaluation import evaluate, read_outcomes, write_outcomes
from embpress.study.artefact import Artefact
from embpress.study.method_entry import MatrixSpec
from embpress.tasks import LabelledTask, TaskInputs, create_task, kinds, parse_entry, task_class
from embpress.tasks._bootstrap import compare, difference, mean_scores, score_of
from embpress.training.fine_tuning import finetune
from embpress.training.loop import TrainingContext
from embpress.training.students import StudentInputs, distil_on_task, finetune_student

from ..conftest import PIECES
from ..task_entries import FINETUNE, complete

CONTEXT = TrainingContext(seed=0)
SAMPLES = Path(__file__).parent / "samples"
LABELLED = [kind for kind in kinds() if task_class(kind).entry_model.has_labels]
SIZES = {
    "vocab_size": len(PIECES),
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.5,
}
STAGE = {"epochs": 2, "batch_size": 4, "learning_rate": 5e-3}


def sample(kind):
    """Functions of a kind's sample."""
    path = SAMPLES / f"{kind}.py"
    assert path.is_file(), f"write {path}, as those of the other kinds are"
    return runpy.run_path(str(path))


def write_sample(kind, folder, **more):
    """The complete entry of a kind's sample in a folder, and its files by name."""
    entry, files = sample(kind)["write"](folder)
    entry = complete(kind, entry | more)
    return entry, files | parse_entry(entry, "tasks.x").local_files()


def make(kind, folder, **more):
    """The task of a kind's sample."""
    entry, files = write_sample(kind, folder, **more)
    return create_task(entry, TaskInputs.of(files))


def tiny_model(task, seed):
    """A random model with the head of a task."""
    torch.manual_seed(seed)
    options = task.head_options() if isinstance(task, LabelledTask) else {}
    config = BertConfig(**SIZES, is_decoder=task.head == "causal_lm", **options)
    return auto_class(task.head).from_config(config).eval()


def batch_of(task, tokenizer, multiple=None):
    """All training rows in one batch, padded to a multiple of some tokens."""
    collator = task.data_collator(tokenizer)
    collator.pad_to_multiple_of = multiple
    return collator(task.training_rows(tokenizer))


def models_of(entry):
    """A typed entry and all that is nested in it."""
    yield entry
    for _, value in entry:
        if isinstance(value, BaseModel):
            yield from models_of(value)


@pytest.mark.parametrize("kind", kinds())
def test_metadata_are_complete(kind, tmp_path):
    task = task_class(kind)
    model = task.entry_model
    assert task.__doc__ and model.__doc__
    assert sys.modules[task.__module__].__doc__
    assert task.metrics == model.known_metrics and all(m.name and m.label for m in task.metrics)
    assert len(set(model.metric_names())) == len(task.metrics)
    assert set(model.default_metrics()) <= set(model.metric_names())
    assert auto_class(task.head)
    assert issubclass(task, LabelledTask) == model.has_labels
    entry = parse_entry(write_sample(kind, tmp_path)[0], "tasks.x")
    assert isinstance(entry, model) and entry.kind == kind
    assert entry.is_trained == model.has_labels
    for nested in models_of(entry):
        for name, field in type(nested).model_fields.items():
            assert field.description, f"{type(nested).__name__}.{name} has no description"


@pytest.mark.parametrize("kind", kinds())
def test_entries_refuse_what_they_do_not_know(kind, tmp_path):
    entry, _ = write_sample(kind, tmp_path)
    with pytest.raises(UserError, match=r"tasks\.x: .*'modle'.*did you mean 'model'"):
        parse_entry(entry | {"modle": "m"}, "tasks.x")
    with pytest.raises(UserError, match=r"tasks\.x\.data: .*'nothing'"):
        parse_entry(entry | {"data": entry["data"] | {"nothing": 1}}, "tasks.x")
    for key in ("model", "corpus", "data"):
        rest = {name: value for name, value in entry.items() if name != key}
        with pytest.raises(UserError, match=rf"tasks\.x: '{key}' is missing"):
            parse_entry(rest, "tasks.x")
    with pytest.raises(UserError, match=r"tasks\.x\.protocol: 'finetune'"):
        parse_entry(entry | {"protocol": "finetune"}, "tasks.x")


@pytest.mark.parametrize("kind", kinds())
def test_entries_are_described_by_a_json_schema(kind, tmp_path):
    """Whatever is a right entry is right by the schema too, and survives as JSON."""
    entry, _ = write_sample(kind, tmp_path)
    schema = task_class(kind).entry_model.model_json_schema()
    jsonschema.validate(entry, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(entry | {"modle": "m"}, schema)
    typed = parse_entry(entry, "tasks.x")
    assert parse_entry(typed.model_dump(mode="json"), "tasks.x") == typed
    assert parse_entry(typed.model_dump(mode="json", exclude_unset=True), "tasks.x") == typed


@pytest.mark.parametrize("kind", kinds())
def test_outcomes_become_scores(kind, tokenizer, tmp_path):
    task = make(kind, tmp_path)
    outcomes = task.outcomes(tiny_model(task, 0), tokenizer, lambda line: None)
    write_outcomes({"1": outcomes}, tmp_path / "outcomes.safetensors")
    outcomes = read_outcomes(tmp_path / "outcomes.safetensors")["1"]
    n_units = task.n_resampling_units(outcomes)
    assert n_units and all(n > 1 for n in n_units.values())
    generator = np.random.default_rng(0)
    identity = {name: np.arange(n)[None] for name, n in n_units.items()}
    shuffled = {name: generator.permutation(n)[None] for name, n in n_units.items()}
    samples = {name: generator.integers(0, n, (5, n)) for name, n in n_units.items()}
    whole = task.scores(outcomes, identity)
    best = task.scores(sample(kind)["perfect"](outcomes), identity)
    sampled = task.scores(outcomes, samples)
    assert set(whole) <= set(task.entry_model.metric_names())
    assert set(task.entry.reported_metrics) & set(whole)
    for metric in (m for m in task.metrics if m.name in whole):
        value = whole[metric.name]
        assert value.shape == (1,) and sampled[metric.name].shape == (5,)
        assert value[0] == score_of(type(task), outcomes, metric.name)
        np.testing.assert_allclose(task.scores(outcomes, shuffled)[metric.name], value, rtol=1e-9)
        for scores in (value, sampled[metric.name]):
            assert np.isfinite(scores).all()
            if metric.percent:
                assert (np.abs(scores) <= 1 + 1e-9).all()
        assert best[metric.name] == pytest.approx([1])
        sign = 1 if metric.higher_is_better else -1
        assert sign * value[0] <= sign * best[metric.name][0] + 1e-9


@pytest.mark.parametrize("kind", kinds())
def test_intervals_are_of_the_same_units_for_both_models(kind, tokenizer, tmp_path):
    task = make(kind, tmp_path)
    kind_class = type(task)
    outcomes = task.outcomes(tiny_model(task, 0), tokenizer, lambda line: None)
    best = sample(kind)["perfect"](outcomes)
    for score in compare(kind_class, best, best, "x"):
        assert (score.retention, score.n > 1) == (pytest.approx(100), True)
        assert score.value == score_of(kind_class, best, score.metric)
        same = difference(kind_class, [(outcomes, outcomes)], "x", score.metric)
        assert (same.low, same.high, same.n) == (0, 0, score.n)
        means = mean_scores(kind_class, outcomes, "x", (score.metric,))
        assert means[0] == score_of(kind_class, outcomes, score.metric)


@pytest.mark.parametrize("kind", kinds())
def test_outcomes_of_the_same_model_are_the_same(kind, tokenizer, tmp_path):
    task = make(kind, tmp_path)
    model = tiny_model(task, 0)
    one, two = (task.outcomes(model, tokenizer, lambda line: None) for _ in range(2))
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", LABELLED)
def test_training_rows_teach_the_head(kind, tokenizer, tmp_path):
    task = make(kind, tmp_path)
    rows = task.training_rows(tokenizer)
    assert len(rows) >= len(task.train.labels) > 1
    assert all(len(row["input_ids"]) for row in rows)
    model = tiny_model(task, 0)
    loss = model(**batch_of(task, tokenizer)).loss
    loss.backward()
    assert torch.isfinite(loss) and loss > 0
    assert any(p.grad.abs().max() > 0 for n, p in model.named_parameters() if p.grad is not None)
    part = task.within_training(0.4)
    assert len(part.train.labels) + len(part.test.labels) <= len(task.train.labels)
    assert len(part.test.labels) == round(0.4 * len(task.train.labels))


@pytest.mark.parametrize("kind", LABELLED)
def test_distillation_loss_is_a_mean_that_padding_does_not_change(kind, tokenizer, tmp_path):
    task = make(kind, tmp_path)
    student, teacher = (tiny_model(task, seed) for seed in (0, 1))
    batches = [batch_of(task, tokenizer, multiple) for multiple in (None, 64)]
    assert batches[0]["input_ids"].shape[-1] < batches[1]["input_ids"].shape[-1]
    twice = {name: torch.cat([values, values]) for name, values in batches[0].items()}
    losses = []
    with torch.inference_mode():
        for batch in (*batches, twice):
            ours = student(**batch)
            theirs = teacher(**batch)
            losses.append(task.logits_loss(ours, theirs, batch).item())
            assert task.logits_loss(theirs, theirs, batch).item() == pytest.approx(0, abs=1e-6)
    assert losses[0] > 1e-6
    assert losses[1:] == pytest.approx([losses[0]] * 2, rel=1e-4)


@pytest.mark.parametrize("kind", LABELLED)
def test_a_model_is_fine_tuned_compressed_distilled_and_evaluated(kind, base, tokenizer, tmp_path):
    tokenizer.save_pretrained(base)
    tuned, counts = (tmp_path / name for name in ("tuned", "counts.safetensors"))
    save_file({"counts": torch.arange(1, len(PIECES) + 1)}, counts)
    task = make(kind, tmp_path, finetune=STAGE)
    finetune(base, task, CONTEXT, tuned)
    starts = {}
    for source in (base, tuned):
        starts[source] = Artefact.below(tmp_path / source.name / "svd", "svd", 2, 0)
        spec = MatrixSpec(kind="embedding", method="svd")
        compress_checkpoint(FitInputs(source, counts), spec, starts[source], print)
    entry, _ = write_sample(kind, tmp_path)
    del entry["finetune"]
    student = entry | {"checkpoint": "tuned"}
    settings = {"protocol": "compress_then_distil", "distil": {"stage2": STAGE}}
    distilled = create_task(student | settings, task.inputs)
    inputs = StudentInputs(tuned, starts[tuned].folder, counts)
    distil_on_task(tuned, inputs, distilled, CONTEXT, tmp_path / "distilled")
    settings = {"protocol": "compress_then_finetune", "finetune": FINETUNE}
    tuned_again = create_task(student | settings, task.inputs)
    inputs = StudentInputs(base, starts[base].folder, counts)
    finetune_student(inputs, tuned_again, CONTEXT, tmp_path / "tuned_again")
    artefacts = [starts[tuned].folder, tmp_path / "distilled", tmp_path / "tuned_again"]
    results = dict(evaluate(task, tuned, artefacts, lambda line: None))
    assert list(results) == artefacts
    for outcomes in results.values():
        names = task.entry.averaged_metrics
        scores = [score_of(type(task), outcomes, name) for name in names]
        assert np.isfinite(scores).all()


def test_unknown_kinds_are_named():
    with pytest.raises(UserError, match=r"'span_'.*did you mean 'span'"):
        task_class("span_")
    with pytest.raises(UserError, match=r"tasks\.x\.kind: .*'spam'; did you mean 'span'"):
        parse_entry({"kind": "spam"}, "tasks.x")
    with pytest.raises(UserError, match=r"tasks\.x: 'kind' is missing"):
        parse_entry({}, "tasks.x")
    assert not [kind for kind in kinds() if kind.startswith("_")]


def test_entries_of_all_kinds_are_read_without_torch():
    """Studies are checked where neither torch nor what comes with it is installed."""
    program = """
import sys
for name in ("torch", "transformers", "numpy", "scipy", "pandas", "safetensors"):
    sys.modules[name] = None
from embpress.tasks import entry_model, kinds
assert all(entry_model(kind).model_json_schema() for kind in kinds())
import embpress.study.loading
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
