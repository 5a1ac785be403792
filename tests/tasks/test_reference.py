"""Metrics that compare a model with the uncompressed one, against independent computations."""

import math

import numpy as np
import pytest
import scipy
import torch
from torch.nn import functional

from embpress.pipeline.evaluation import read_outcomes, write_outcomes
from embpress.tasks import kinds, task_class
from embpress.tasks._bootstrap import compare
from embpress.tasks._encoding import sentence_embeddings
from embpress.tasks._predicted_labels import label_outcomes
from embpress.tasks._predictions import HeadInputs, ReferenceHead, compare_predictions

from .test_contract import make, tiny_model

COMPARED = [
    kind
    for kind in kinds()
    if any(metric.of_itself is not None for metric in task_class(kind).metrics)
]


def silent(line):
    """Progress that nobody reads."""


def compared(kind, tokenizer, folder, seed):
    """The task, outcomes of the uncompressed model, and of the model of a seed beside it."""
    base = make(kind, folder).outcomes(tiny_model(make(kind, folder), 0), tokenizer, silent)
    write_outcomes({"1": base}, folder / "identity.safetensors")
    base = read_outcomes(folder / "identity.safetensors")["1"]
    task = make(kind, folder)
    task.set_reference(tiny_model(task, 0), base)
    return task, base, task.outcomes(tiny_model(task, seed), tokenizer, silent)


def values(kind, outcomes, base):
    """Scores by metric."""
    return {score.metric: score for score in compare(task_class(kind), outcomes, base, "x")}


def test_kinds_with_embeddings_or_predictions_are_compared():
    predictions = {"language_modelling", "classification", "multiple_choice"}
    assert predictions | {"similarity", "retrieval"} <= set(COMPARED)


@pytest.mark.parametrize("kind", COMPARED)
def test_the_same_model_differs_in_nothing_and_another_does(kind, tokenizer, tmp_path):
    task, base, same = compared(kind, tokenizer, tmp_path, 0)
    other = task.outcomes(tiny_model(task, 1), tokenizer, silent)
    scores = [values(kind, outcomes, base) for outcomes in (same, other)]
    assert set(scores[0]) == {metric.name for metric in task.metrics} - missing_sets(task)
    for metric in (m for m in task.metrics if m.of_itself is not None):
        equal, different = (found[metric.name] for found in scores)
        assert equal.value == pytest.approx(metric.of_itself, abs=1e-5)
        assert abs(different.value - metric.of_itself) > 1e-3
        assert (different.uncompressed, different.n > 1) == (metric.of_itself, True)
        assert math.isnan(different.retention) and math.isnan(different.low)
    assert metric.name not in values(kind, base, base)  # nothing to compare it with


def missing_sets(task):
    """Metrics of sets that a similarity task leaves out."""
    left_out = {"lee50", "simlex999", "wordsim353"} - set(getattr(task, "sets", ()))
    return {f"spearman_{name}" for name in left_out}


def test_language_models_are_compared_by_all_their_predictions(tokenizer, tmp_path):
    task, base, outcomes = compared("language_modelling", tokenizer, tmp_path, 1)
    blocks = task.blocks(tokenizer)
    with torch.inference_mode():
        reference, model = (
            tiny_model(task, seed)(input_ids=blocks).logits[:, :-1].flatten(0, 1).log_softmax(-1)
            for seed in (0, 1)
        )
    n = outcomes["nll"].size
    divergences = functional.kl_div(model, reference, log_target=True, reduction="none").sum(1)[:n]
    agreements = (model.argmax(1) == reference.argmax(1))[:n].double()
    targets = blocks[:, 1:].flatten()
    losses = (
        functional.nll_loss(side, targets, reduction="none")[:n] for side in (model, reference)
    )
    found = values("language_modelling", outcomes, base)
    assert found["kl_divergence"].value == pytest.approx(divergences.mean().item(), rel=1e-4)
    assert found["top1_agreement"].value == pytest.approx(agreements.mean().item())
    lost = np.subtract(*(side.mean().item() for side in losses))
    assert found["nats_lost"].value == pytest.approx(lost, rel=1e-4)
    assert found["perplexity"].retention == pytest.approx(100 * math.exp(-lost), rel=1e-4)


def test_labels_are_compared_by_their_probabilities():
    generator = torch.Generator().manual_seed(0)
    reference, logits = torch.randn(2, 50, 3, generator=generator)
    labels = [0] * 50
    base = label_outcomes(reference, labels, None)
    found = values("classification", label_outcomes(logits, labels, base), base)
    p, q = (scipy.special.softmax(side.double().numpy(), axis=1) for side in (reference, logits))
    divergences = scipy.stats.entropy(p, q, axis=1)
    agreements = p.argmax(1) == q.argmax(1)
    assert found["kl_divergence"].value == pytest.approx(divergences.mean(), rel=1e-5)
    assert found["top1_agreement"].value == pytest.approx(agreements.mean())
    assert found["kl_divergence"].n == 50


def test_embeddings_are_compared_text_by_text(tokenizer, tmp_path):
    task, base, outcomes = compared("similarity", tokenizer, tmp_path, 1)
    means = []
    for pairs in task.sets.values():
        sides = [
            sentence_embeddings(tiny_model(task, seed), tokenizer, pairs.texts, silent)
            for seed in (0, 1)
        ]
        means.append(functional.cosine_similarity(*sides).mean().item())
    found = values("similarity", outcomes, base)["vector_cosine"]
    assert found.value == pytest.approx(np.mean(means), rel=1e-5)
    assert found.n == sum(len(pairs.texts) for pairs in task.sets.values())


def test_extreme_logits_have_finite_divergences():
    reference = torch.tensor([[90.0, 0.0, -200.0], [1.0, 1.0, 1.0]])
    logits = torch.tensor([[-300.0, 300.0, 0.0], [1.0, 1.0, 1.0]])
    targets = torch.tensor([0, 2])
    losses = functional.cross_entropy(logits, targets, reduction="none")
    divergences, agree = compare_predictions(logits, reference, losses, targets)
    assert divergences.tolist() == pytest.approx([600, 0], abs=1e-4)
    assert agree.tolist() == [False, True]


def test_a_model_that_changes_the_logits_of_its_head_has_no_divergence(tokenizer, tmp_path):
    """A soft cap, as Gemma 2 has it, cannot be made again from what enters the head."""
    task = make("language_modelling", tmp_path)
    model = tiny_model(task, 0)
    recorder = HeadInputs(model)
    logits = model(input_ids=task.blocks(tokenizer)).logits
    inputs = recorder.take(logits)
    assert inputs.shape[:2] == logits.shape[:2]
    assert recorder.take(30 * (logits / 30).tanh() + 1) is None
    made_again = ReferenceHead(model, inputs.flatten(0, 1))
    assert made_again.weight.shape == (logits.shape[-1], inputs.shape[-1])
