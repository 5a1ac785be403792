"""Second moments of layers against direct computations, for models of several kinds."""

import gc
import weakref

import pytest
import torch
from transformers import BertConfig, BertForMultipleChoice

from embpress.methods._layer_code import mean_precision
from embpress.models import calibration as calibration_module
from embpress.models.calibration import SHRINKAGE, UNSEEN_USE, Calibration, calibrate
from embpress.models.calibration_texts import TextLayout, encode_texts, longest_text, run_batch
from embpress.models.dense_matrices import find_matrices
from embpress.models.predictions import predicted_softmaxes
from embpress.models.whole_model_code import embedding_moments, layer_moments

from ..zoo import V, tiny

TEXTS = [[3, 5, 7], [4, 4, 9, 11, 2], [8]]
KINDS = ["bert_classifier", "bert_mlm", "gpt2", "llama_tied", "llama_untied", "deberta_mlm"]
KINDS += ["distilbert_mlm", "roberta_mlm", "modernbert_mlm", "electra_mlm", "t5"]


@pytest.mark.parametrize("name", KINDS)
def test_every_matrix_of_a_model_gets_moments(name):
    model = tiny(name)
    calibration = calibrate(model, TEXTS, mask_id=1)
    for matrix in find_matrices(model):
        moments = calibration.moments[matrix.name]
        n, d = matrix.weight.shape
        is_table = isinstance(model.get_submodule(matrix.name), torch.nn.Embedding)
        assert moments.inputs.shape == (d, d)
        assert moments.outputs.shape == (n,)
        assert is_table or float(moments.inputs.diagonal().min()) >= 0
    assert calibration.token_counts.sum() == sum(map(len, TEXTS))
    assert calibration.n_texts == len(TEXTS)


def test_moments_are_those_of_a_direct_computation_without_padding():
    model = tiny("llama_untied")
    calibration = calibrate(model, TEXTS)
    name = "model.layers.0.mlp.down_proj"
    layer = model.get_submodule(name)
    inputs = []
    handle = layer.register_forward_hook(lambda m, x, y: inputs.append(x[0].detach()[0]))
    with torch.no_grad():
        for text in TEXTS:
            model(input_ids=torch.tensor([text]))
    handle.remove()
    tokens = torch.cat(inputs)
    moment = tokens.T @ tokens / len(tokens)
    share = SHRINKAGE * len(moment) / (len(tokens) + SHRINKAGE * len(moment))
    wanted = (1 - share) * moment + share * moment.trace() / len(moment) * torch.eye(len(moment))
    torch.testing.assert_close(calibration.moments[name].inputs, wanted, rtol=1e-4, atol=1e-6)
    # Query, key and value read the same tensor, which is summed once.
    of_query, of_value = (
        calibration.moments[f"model.layers.0.self_attn.{part}_proj"].inputs for part in "qv"
    )
    assert torch.equal(of_query, of_value)


def test_no_batch_leaves_its_graph_behind():
    """A hook that held its own tensor would keep the graph of each batch until a collection."""
    model = tiny("bert_classifier")
    outputs = []
    layer = model.get_submodule("bert.encoder.layer.0.output.dense")
    layer.register_forward_hook(lambda m, x, y: outputs.append(weakref.ref(y)))
    gc.disable()
    try:
        calibrate(model, TEXTS)
        assert outputs and all(output() is None for output in outputs)
    finally:
        gc.enable()


def test_outputs_of_a_head_have_the_fisher_information_of_a_softmax():
    model = tiny("bert_classifier")
    moments = calibrate(model, TEXTS).moments["classifier"]
    with torch.no_grad():
        logits = [model(input_ids=torch.tensor([text])).logits for text in TEXTS]
    probabilities = torch.cat(logits).softmax(1)
    # Exactly, although one label a text is drawn.
    wanted = (probabilities * (1 - probabilities)).mean(0)
    torch.testing.assert_close(moments.outputs, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["electra_discriminator", "bert_token_regression"])
def test_padded_places_have_no_gradient_in_models_of_one_value_a_token(name):
    model = tiny(name)
    head = "classifier" if "regression" in name else "discriminator_predictions.dense_prediction"
    gradients = []

    def keep(module, inputs, output):
        output.register_hook(lambda g: gradients.append(g[..., 0]))

    model.get_submodule(head).register_forward_hook(keep)
    calibrate(model, TEXTS)
    (gradient,) = gradients  # one batch, of all texts
    assert gradient.shape[1] == max(map(len, TEXTS))
    n_tokens = sorted(int(row.ne(0).sum()) for row in gradient)
    assert n_tokens == sorted(map(len, TEXTS))


def test_a_discriminator_has_two_labels_a_token_and_a_classifier_one_label_a_text():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ids = torch.tensor([[3, 5, 7], [8, 0, 0]])
    with torch.no_grad():
        output = tiny("electra_discriminator")(input_ids=ids, attention_mask=mask.long())
        (found,) = predicted_softmaxes(output, mask)
        torch.testing.assert_close(found.softmax(-1)[:, 1], output.logits[mask].sigmoid())
        # As many labels as tokens: the shape of the logits is that of the mask.
        output = tiny("bert_classifier", num_labels=3)(input_ids=ids, attention_mask=mask.long())
        (found,) = predicted_softmaxes(output, mask)
    assert output.logits.shape == mask.shape
    assert torch.equal(found, output.logits)


def test_rows_of_a_language_models_head_count_by_the_probabilities_of_their_tokens():
    model = tiny("llama_untied")
    moments = calibrate(model, TEXTS).moments["lm_head"]
    wanted = torch.zeros(V)
    with torch.no_grad():
        for text in TEXTS:
            p = model(input_ids=torch.tensor([text])).logits[0].softmax(-1)
            wanted += (p * (1 - p)).sum(0) / len(TEXTS)
    torch.testing.assert_close(moments.outputs, wanted, rtol=1e-4, atol=1e-6)


def test_rows_of_tables_count_by_their_uses_and_heads_add_to_the_embedding():
    model = tiny("llama_tied")
    calibration = calibrate(model, TEXTS)
    table = calibration.moments["model.embed_tokens"]
    counts = torch.bincount(torch.tensor(sum(TEXTS, [])), minlength=V) / len(TEXTS)
    torch.testing.assert_close(table.outputs, counts + UNSEEN_USE * counts.max())
    moments = embedding_moments(model, calibration, None)
    assert float(moments.inputs.diagonal().mean()) == pytest.approx(1)


def test_token_counts_are_averaged_with_those_of_the_texts():
    model = tiny("llama_untied")
    calibration = calibrate(model, TEXTS)
    of_texts = embedding_moments(model, calibration, None).outputs
    of_both = embedding_moments(model, calibration, torch.arange(V) * 1000).outputs
    assert of_texts[3] > 1.5 * of_texts[V - 1]
    assert of_both[V - 1] > 1.5 * of_texts[V - 1]


def test_without_texts_the_rows_of_the_embedding_are_as_important_as_those_of_layers():
    model = tiny("llama_untied")
    weight = model.model.embed_tokens.weight.detach()
    counts = torch.arange(V)
    moments = embedding_moments(model, Calibration(), counts)
    # Token counts move importance between rows, not between matrices.
    assert mean_precision(weight, moments) == pytest.approx(1, rel=1e-4)
    assert moments.outputs[V - 1] > 1.5 * moments.outputs[3]


def test_layers_that_no_text_reaches_get_plain_weights():
    model = tiny("bert")
    calibration = calibrate(model, TEXTS)
    assert "pooler.dense" not in calibration.moments
    matrices = find_matrices(model)
    names = [matrix.name for matrix in matrices]
    plain = layer_moments(matrices, calibration)[names.index("pooler.dense")]
    assert torch.equal(plain.inputs, torch.eye(16))
    assert plain.outputs.std() == 0
    assert plain.outputs.mean() > 0


def multiple_choice():
    """BERT with a head that scores each choice of a question."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertForMultipleChoice(BertConfig(vocab_size=V, intermediate_size=32, **sizes)).eval()


def test_each_question_has_a_softmax_over_its_own_choices():
    model = multiple_choice()
    questions = [[[5, 6, 7], [5, 8, 7]], [[9, 6, 10], [5, 9, 9]]]
    texts = [choice for question in questions for choice in question]
    (batch,) = calibrate(model, texts, layout=TextLayout(choices=2)).checks
    (logits,) = predicted_softmaxes(run_batch(model, dict(batch.inputs)), batch.labels)
    alone = torch.cat([model(torch.tensor([question])).logits for question in questions])
    assert logits.shape == (2, 2) and torch.allclose(logits, alone, atol=1e-6)


def test_questions_are_chosen_whole(monkeypatch):
    monkeypatch.setattr(calibration_module, "N_TEXTS", 4)
    texts = [[5 + question, 5 + choice] for question in range(8) for choice in range(2)]
    (batch,) = calibrate(multiple_choice(), texts, layout=TextLayout(choices=2)).checks
    ids = batch.inputs["input_ids"]
    assert ids.shape == (2, 2, 2) and (ids[:, 0, 0] == ids[:, 1, 0]).all()


def test_types_of_tokens_tell_the_texts_of_a_pair_apart():
    model = tiny("bert_classifier")
    types = [[0, 0, 1], [0, 1, 1, 1, 1], [0]]
    name = "bert.embeddings.token_type_embeddings"
    moments = calibrate(model, TEXTS, layout=TextLayout(types)).moments[name]
    uses = torch.tensor([4.0, 5.0]) / len(TEXTS)
    torch.testing.assert_close(moments.outputs, uses + UNSEEN_USE * uses.max())


def test_texts_are_cut_to_the_positions_of_a_model():
    assert longest_text(tiny("bert")) == 14


def test_long_texts_are_read_in_parts_and_tokens_are_bounded(monkeypatch, wordpiece):
    text = "the cat dog " * 30
    whole = encode_texts([text, "cat"], wordpiece, 12)
    parts = encode_texts([text, "cat"], wordpiece, 12, in_parts=True)
    assert len(whole) == 2 and len(parts) == 9 + 1
    assert all(len(part) <= 12 and part[0] == whole[0][0] for part in parts)
    inside = [i for part in parts[:9] for i in part[1:-1]]
    assert inside == wordpiece(text, add_special_tokens=False)["input_ids"]
    monkeypatch.setattr(calibration_module, "N_TOKENS", 40)
    calibration = calibrate(tiny("bert"), [[3, 4, 5, 6, 7, 8, 9, 3]] * 20)
    assert calibration.n_texts == 5 and calibration.n_tokens == 40
    assert calibration.token_counts.sum() == 160
