"""Random projections of predictions against the Fisher information of a softmax."""

import pytest
import torch
from transformers.modeling_outputs import SequenceClassifierOutput as Output

from embpress.models.predictions import fisher_projection

N_DRAWS = 20_000


def gradients(logits):
    """Gradients at logits (C,) of N_DRAWS projections of one text."""
    rows = logits.expand(N_DRAWS, -1).clone().requires_grad_()
    mask = torch.ones(N_DRAWS, 1, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    fisher_projection(Output(logits=rows), mask, generator).backward()
    return rows.grad


@pytest.mark.parametrize("logits", [[0.0, 0.0], [4.0, -1.0], [0.5, 2.0, -3.0]])
def test_gradients_have_the_fisher_information_as_second_moment(logits):
    logits = torch.tensor(logits)
    p = logits.softmax(0)
    fisher = p.diag() - torch.outer(p, p)
    found = gradients(logits)
    torch.testing.assert_close(found.T @ found / N_DRAWS, fisher, rtol=0.05, atol=2e-3)


def test_squared_gradients_of_a_sure_prediction_vary_less_than_those_of_drawn_labels():
    p = torch.tensor([4.0, -1.0]).softmax(0)
    squares = gradients(torch.tensor([4.0, -1.0])).square().sum(1)
    drawn = 2 * (1 - p).square()  # squared norm of the gradient if a label is drawn, p its chance
    variance_of_drawn = (p * drawn.square()).sum() - (p * drawn).sum().square()
    assert squares.var() < variance_of_drawn / 10


def test_gradients_of_a_regression_have_the_identity_as_second_moment():
    found = gradients(torch.zeros(1))
    assert torch.equal(found.abs(), torch.ones_like(found))
