"""Sensitivities of rows compared with a naive loop of autograd."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from embpress.errors import UserError
from embpress.methods import method_class
from embpress.methods._base import Context
from embpress.models import sensitivity
from embpress.models.sensitivity import (
    compute_sensitivities,
    correct_masked_token,
    correct_next_token,
    own_prediction,
    row_gradients,
)
from embpress.models.sensitivity_file import read_sensitivity, write_sensitivity

ROWS = 17
IDS = torch.tensor([[6, 5, 5, 9, 11], [1, 6, 2, 3, 8], [8, 8, 8, 12, 1]])


def gpt2():
    torch.manual_seed(0)
    return (
        GPT2LMHeadModel(GPT2Config(vocab_size=ROWS, n_positions=64, n_embd=8, n_layer=2, n_head=2))
        .eval()
        .double()
    )


def llama():
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=ROWS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return (
        LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=True))
        .eval()
        .double()
    )


def bert(kind):
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=ROWS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return kind(BertConfig(**sizes)).eval().double()


def naive(model, ids):
    """(V, d) gradients of the mean probability of the next tokens, row by row, head fixed."""
    weight = model.get_input_embeddings().weight.detach().clone()
    gradient = torch.zeros_like(weight)
    for row in ids.unique().tolist():
        moved = weight[row].clone().requires_grad_()
        vectors = torch.stack(
            [torch.stack([moved if i == row else weight[i] for i in text]) for text in ids.tolist()]
        )
        chances = model(inputs_embeds=vectors).logits.softmax(-1)
        correct = [
            chances[b, t, ids[b, t + 1]] for b in range(len(ids)) for t in range(ids.shape[1] - 1)
        ]
        (gradient[row],) = torch.autograd.grad(sum(correct) / len(correct), moved)
    return gradient


@pytest.mark.parametrize("model", [gpt2, llama])
def test_one_batch_equals_a_naive_loop_of_autograd(model):
    model = model()
    wanted = naive(model, IDS)
    rows, gradients = row_gradients(model, IDS, correct_next_token)
    assert rows.tolist() == IDS.unique().tolist()
    torch.testing.assert_close(gradients, wanted[rows], rtol=1e-9, atol=1e-12)
    found = compute_sensitivities(model, [IDS], correct_next_token, print)
    torch.testing.assert_close(found["fisher"], wanted.square().sum(1).sqrt().float())
    torch.testing.assert_close(found["l1_sensitivity"], wanted.abs().sum(1).float())
    assert found["fisher"].dtype == torch.float32 and found["fisher"][4] == 0


def test_a_tied_heads_share_is_left_out():
    model = gpt2()
    weight = model.get_input_embeddings().weight
    (both,) = torch.autograd.grad(correct_next_token(model, IDS), weight)
    rows, gradients = row_gradients(model, IDS, correct_next_token)
    assert not torch.allclose(both[rows], gradients, rtol=1e-2)
    assert not model.get_input_embeddings()._forward_hooks


def test_batches_add_up_squares_and_sizes():
    model = gpt2()
    one, other = (
        compute_sensitivities(model, [ids], correct_next_token, print) for ids in (IDS[:1], IDS[1:])
    )
    both = compute_sensitivities(model, IDS.split([1, 2]), correct_next_token, print)
    torch.testing.assert_close(
        both["fisher"], (one["fisher"].square() + other["fisher"].square()).sqrt()
    )
    torch.testing.assert_close(
        both["l1_sensitivity"], one["l1_sensitivity"] + other["l1_sensitivity"]
    )


def test_masked_tokens_have_no_gradient_and_the_mask_has():
    model = bert(BertForMaskedLM)
    text = torch.arange(5, 17)[None]
    objective = correct_masked_token(4, [0, 1, 2, 3, 4], torch.Generator().manual_seed(0))
    rows, gradients = row_gradients(model, text, objective)
    assert 4 in rows and len(set(range(5, 17)) - set(rows.tolist())) == 1
    assert (gradients.abs().sum(1) > 0).all()


def test_special_tokens_are_never_masked():
    model = bert(BertForMaskedLM)
    objective = correct_masked_token(4, [0, 2, 3, 4], torch.Generator().manual_seed(0))
    for _ in range(20):
        rows, _ = row_gradients(model, torch.tensor([[2, 7, 3]]), objective)
        assert rows.tolist() == [2, 3, 4]


def test_a_classifier_answers_by_its_own_prediction():
    model = bert(BertForSequenceClassification)
    weight = model.get_input_embeddings().weight
    logits = model(input_ids=IDS).logits
    chosen = logits.log_softmax(1)[torch.arange(3), logits.argmax(1)].mean()
    (wanted,) = torch.autograd.grad(chosen, weight)
    rows, gradients = row_gradients(model, IDS, own_prediction)
    torch.testing.assert_close(gradients, wanted[rows])


@pytest.fixture
def folder(tmp_path, wordpiece):
    """A checkpoint of a classifier with its tokenizer."""
    bert(BertForSequenceClassification).float().save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_checkpoint_is_measured_on_text_and_weights_come_of_it(folder, tmp_path):
    texts = ["the cat, the dogs."] * 200
    lines = []
    found = sensitivity.compute_checkpoint_sensitivities(
        folder, texts, sensitivity.SensitivitySettings(640), lines.append
    )
    assert lines[0] == "640 tokens in blocks of 64" and lines[-1] == "640 tokens"
    assert all(found["fisher"][i] > 0 for i in (2, 3, 11, 12, 14)) and found["fisher"][5] == 0
    write_sensitivity(found, tmp_path / "s.safetensors")
    again = read_sensitivity(tmp_path / "s.safetensors", ROWS)
    weights = method_class("b23")(weighting="fisher").row_weights(Context(sensitivity=again), ROWS)
    assert weights.mean() == pytest.approx(1) and weights.min() > 0
    # B23 multiplies a row's error by its sensitivity c, FWSVD its squared error by c^2.
    frequent, rare = 2, 14
    ratio = again["fisher"][frequent] / again["fisher"][rare]
    for method, power in (("b23", 1), ("svd", 2)):
        own = method_class(method)(weighting="fisher").row_weights(Context(sensitivity=again), ROWS)
        own = own - own.min()
        assert float(own[frequent] / own[rare]) == pytest.approx(float(ratio) ** power, rel=1e-4)
        assert again["fisher"].argmin() == own.argmin()
    with pytest.raises(UserError, match="fisher of 17 rows.* 5"):
        read_sensitivity(tmp_path / "s.safetensors", 5)


def test_blocks_are_spread_over_the_text_and_bounded(wordpiece):
    texts = ["a " * 50, "b " * 50]
    blocks = sensitivity.sample_token_blocks(texts, wordpiece, 10, 20, special=True)
    assert (
        blocks.shape == (2, 10)
        and blocks[:, 0].tolist() == [2, 2]
        and blocks[:, -1].tolist() == [3, 3]
    )
    assert blocks[:, 1].tolist() == [5, 6]
    assert sensitivity.sample_token_blocks(texts, wordpiece, 10, 10**6, special=False).shape == (
        10,
        10,
    )
    with pytest.raises(UserError, match="1 tokens.* block of 10"):
        sensitivity.sample_token_blocks(["a"], wordpiece, 10, 20, special=False)


def test_heads_are_told_from_the_config_and_a_bare_encoder_is_refused(tmp_path, bert):
    for name, model, head in (("gpt2", gpt2(), "causal_lm"), ("llama", llama(), "causal_lm")):
        model.save_pretrained(tmp_path / name)
        assert sensitivity.find_prediction_head(tmp_path / name) == head
        assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path / name), type(model))
    bert.save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="BertModel without a head .*counts or uniform"):
        sensitivity.find_prediction_head(tmp_path / "bert")
