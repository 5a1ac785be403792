"""KroneckerBERT's distillation loss on tiny models, against float64 arithmetic in numpy."""

import copy
import math

import numpy as np
import pytest
import torch

from embpress.errors import UserError
from embpress.tasks._losses import squared_error
from embpress.training.distillation import Distillation

from ..zoo import tiny

IDS = torch.tensor([[3, 5, 5, 9, 1], [1, 0, 2, 22, 1]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])

TERMS = ["embeddings", "attention", "hidden", "logits", "task"]


def batch(**more):
    return {"input_ids": IDS, "attention_mask": MASK, **more}


def pair(name="bert_classifier", **changes):
    """A student and a teacher of the same sizes with different weights."""
    teacher = tiny(name, **changes)
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return student, teacher


def bert_in_numpy(model):
    """BERT's classifier in numpy float64: hidden states and attention scores of each layer (hidden
    states with those of the embedding layer first), and logits.
    """
    w = {k: v.double().numpy() for k, v in model.state_dict().items()}
    heads = model.config.num_attention_heads
    n_layers = model.config.num_hidden_layers

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return (
            x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"]
            + w[name + ".bias"]
        )

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)

    e = "bert.embeddings."
    x = (
        w[e + "word_embeddings.weight"][IDS.numpy()]
        + w[e + "position_embeddings.weight"][: IDS.shape[1]]
    )
    x = norm(x + w[e + "token_type_embeddings.weight"][0], e + "LayerNorm")
    states = [x]
    scores = []
    for i in range(n_layers):
        layer = f"bert.encoder.layer.{i}."
        q, k, v = (
            split(linear(x, f"{layer}attention.self.{name}")) for name in ("query", "key", "value")
        )
        score = q @ k.transpose(0, 1, 3, 2) / math.sqrt(q.shape[-1])
        scores.append(score)
        masked = np.where(MASK.numpy()[:, None, None, :] == 1, score, -1e30)
        p = np.exp(masked - masked.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        mixed = (p @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(
            x + linear(mixed, layer + "attention.output.dense"),
            layer + "attention.output.LayerNorm",
        )
        inner = linear(x, layer + "intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, layer + "output.dense"), layer + "output.LayerNorm")
        states.append(x)
    return states, scores, linear(np.tanh(linear(x[:, 0], "bert.pooler.dense")), "classifier")


def log_softmax(x):
    return (
        x
        - x.max(-1, keepdims=True)
        - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
    )


def test_terms_equal_those_computed_in_numpy():
    student, teacher = pair(num_hidden_layers=2)
    labels = torch.tensor([2, 0])
    terms = Distillation(student, teacher, TERMS)(student, batch(labels=labels))
    student_states, student_scores, student_logits = bert_in_numpy(student)
    teacher_states, teacher_scores, teacher_logits = bert_in_numpy(teacher)
    mask = MASK.numpy() == 1
    pairs = mask[:, None, :, None] & mask[:, None, None, :]
    pairs = np.broadcast_to(pairs, student_scores[0].shape)
    scores = zip(student_scores, teacher_scores)
    states = list(zip(student_states, teacher_states))
    p = log_softmax(student_logits)
    q = log_softmax(teacher_logits)
    expected = {
        "embeddings": ((states[0][0] - states[0][1])[mask] ** 2).mean(),
        "attention": sum(((s - t)[pairs] ** 2).mean() for s, t in scores),
        "hidden": sum(((s - t)[mask] ** 2).mean() for s, t in states[1:]),
        "logits": (np.exp(q) * (q - p)).sum(-1).mean(),
        "task": -p[np.arange(2), labels.numpy()].mean(),
    }
    assert list(terms) == list(expected) == TERMS
    for term, value in expected.items():
        assert terms[term].item() == pytest.approx(value, rel=2e-4), term


def test_a_number_for_logits_is_compared_by_its_square():
    assert squared_error(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0], [1.0]])).item() == 2


@pytest.mark.parametrize(
    "name", ["bert_classifier", "distilbert_mlm", "xlm_roberta_classifier", "electra_mlm"]
)
def test_a_student_equal_to_its_teacher_has_no_loss(name):
    teacher = tiny(name)
    student = copy.deepcopy(teacher)
    loss = Distillation(student, teacher, ["embeddings", "attention", "hidden", "logits"])
    terms = loss(student, batch())
    assert len(terms) == 4
    assert all(value.item() == pytest.approx(0, abs=1e-9) for value in terms.values())
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    loss = Distillation(student, teacher, ["embeddings", "attention", "hidden", "logits"])
    assert all(value.item() > 1e-6 for value in loss(student, batch()).values())


def test_padding_does_not_change_any_term():
    student, teacher = pair()
    loss = Distillation(student, teacher, ["embeddings", "attention", "hidden", "logits"])
    before = loss(student, batch())
    other = IDS.clone()
    other[1, 3:] = 7
    after = loss(student, batch() | {"input_ids": other})
    for term, value in before.items():
        assert after[term].item() == pytest.approx(value.item(), rel=1e-5), term


@pytest.mark.parametrize("term", TERMS)
def test_terms_and_their_gradients_can_be_switched_off(term):
    """The gradient of all terms is the gradient of the others plus the term's own, which is not
    zero.
    """
    labels = torch.tensor([2, 0])

    def gradients(terms):
        student, teacher = pair()
        values = Distillation(student, teacher, terms)(student, batch(labels=labels))
        assert set(values) == set(terms)
        sum(values.values()).backward()
        assert all(p.grad is None for p in teacher.parameters())
        return {
            n: torch.zeros_like(p) if p.grad is None else p.grad
            for n, p in student.named_parameters()
        }

    every = gradients(TERMS)
    others = gradients([t for t in TERMS if t != term])
    own = gradients([term])
    for name in every:
        torch.testing.assert_close(every[name], others[name] + own[name], rtol=1e-3, atol=1e-6)
    assert max(g.abs().max().item() for g in own.values()) > 1e-4
    # Only terms that use the head's output have a gradient for the head.
    assert bool(own["classifier.weight"].any()) == (term in ("logits", "task"))


@pytest.mark.parametrize("name", ["deberta_v2_mlm", "modernbert_mlm", "gpt2", "albert_mlm"])
def test_models_without_readable_attention_scores_are_refused(name):
    student, teacher = pair(name, **({"num_hidden_layers": 2} if name == "albert_mlm" else {}))
    with pytest.raises(UserError, match=f"{type(teacher).__name__}.*`attention`.*`terms`"):
        Distillation(student, teacher, TERMS)
    assert Distillation(student, teacher, ["hidden"])(student, batch())["hidden"].item() > 0
