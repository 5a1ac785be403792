"""The measured divergence against a direct computation, and the importance that follows."""

import math

import pytest
import torch

from embpress.methods._base import Context
from embpress.methods._code_options import CodeOptions
from embpress.models.calibration import calibrate
from embpress.models.divergence import Change, measure_divergences
from embpress.models.embedding import find_embedding
from embpress.models.measured_importance import (
    LARGEST_FACTOR,
    LAYER_FACTORS,
    weigh_embedding,
    weigh_layers,
)
from embpress.models.whole_model_code import code_model, make_coders
from embpress.study.layer_kinds import EMBEDDING

from ..zoo import tiny

TEXTS = [[3, 5, 7], [4, 4, 9, 11, 2], [8, 3]]


@pytest.mark.parametrize("name", ["bert_classifier", "llama_tied", "bert"])
def test_the_divergence_is_that_of_the_outputs(name):
    model = tiny(name)
    calibration = calibrate(model, TEXTS)
    weight = find_embedding(model)[1].weight
    changed = weight.detach() + 0.1 * torch.randn(weight.shape)
    before = weight.detach().clone()
    changes = [Change(weight, before), Change(weight, changed)]
    unchanged, found = measure_divergences(model, calibration.checks, changes)
    assert unchanged == 0
    assert torch.equal(weight, before)
    wanted = 0.0
    with torch.no_grad():
        for text in TEXTS:
            outputs = []
            for values in (before, changed):
                weight.copy_(values)
                output = model(input_ids=torch.tensor([text]))
                outputs.append(output.logits if "logits" in output else output.last_hidden_state)
            if name == "bert":
                wanted += 0.5 * float((outputs[0] - outputs[1]).square().sum())
            else:
                logs = [logits.double().log_softmax(-1) for logits in outputs]
                wanted += float((logs[0].exp() * (logs[0] - logs[1])).sum())
        weight.copy_(before)
    assert found == pytest.approx(wanted / len(TEXTS), rel=1e-3)


def test_an_embedding_that_diverges_more_than_predicted_gets_more_bits():
    budget = 8000

    def coded(scale):
        """Bits of the embedding if predictions of its importance are too small."""
        model = tiny("llama_tied")
        calibration = calibrate(model, TEXTS)
        for name, moments in calibration.moments.items():
            if "embed" in name or "head" in name:
                calibration.moments[name] = moments.scaled(scale)
        coders = make_coders(model, calibration)
        factor = weigh_embedding(model, coders, calibration.checks, budget)
        return factor, coders[EMBEDDING].base

    factors, bases = zip(*(coded(scale) for scale in (1, 0.1)))
    assert 1 <= factors[0] <= factors[1] <= LARGEST_FACTOR
    # What the moments understate is measured: the steps are nearly the same.
    assert factors[1] > 3 * factors[0] or factors[1] == LARGEST_FACTOR
    assert abs(bases[0] - bases[1]) < 1


@pytest.mark.parametrize("name", ["bert_classifier", "gpt2"])
@pytest.mark.parametrize("scale, wanted", [(1e-6, LAYER_FACTORS[1]), (1e6, LAYER_FACTORS[0])])
def test_a_layer_counts_as_its_divergence_says(name, scale, wanted):
    model = tiny(name)
    calibration = calibrate(model, TEXTS)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    layer = next(layer for layer in calibration.moments if layer.endswith(("c_fc", "query")))
    calibration.moments[layer] = calibration.moments[layer].scaled(scale)
    coders = make_coders(model, calibration)
    base = coders[layer].base
    factors = weigh_layers(model, coders, calibration.checks, 20_000)
    assert factors.keys() == coders.keys() - {EMBEDDING}
    assert all(LAYER_FACTORS[0] <= factor <= LAYER_FACTORS[1] for factor in factors.values())
    assert factors[layer] == wanted
    assert coders[layer].base == pytest.approx(base - 0.5 * math.log2(wanted))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_measurement_can_be_left_out():
    codes = [
        code_model(model, 3, calibrate(model, TEXTS), None, Context(), options)
        for options in (CodeOptions(), CodeOptions(measured=False))
        for model in [tiny("llama_tied")]
    ]
    assert codes[0].embedding.stored_bits >= codes[1].embedding.stored_bits
