"""The training loop of methods that fit an autoencoder to the rows of one matrix."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    epochs: int
    batch_size: int
    learning_rate: float
    steps: tuple[int, float] | None = None
    """Epochs after which the learning rate is multiplied by a factor, and the factor.

    None lets it fall linearly to 0.
    """

    def rate(self, done: float) -> float:
        """Learning rate when `done` epochs, whole or not, are behind."""
        if self.steps is None:
            return self.learning_rate * (1 - done / self.epochs)
        return self.learning_rate * self.steps[1] ** (done // self.steps[0])


def minimise(
    loss: Callable[[Tensor, int], Tensor],
    parameters: Iterable[Tensor],
    n_rows: int,
    schedule: Schedule,
    seed: int,
    progress: Callable[[str], None],
) -> None:
    """Minimise a loss over shuffled row batches with Adam; parameters change in place.

    Args:
        loss: takes row ids (B,) and the epoch, gives a scalar.
        parameters: tensors to train.
        n_rows: number of rows, V.
        schedule: epochs, batch size, learning rate and its decay.
        seed: seeds the order of rows.
        progress: told once an epoch.
    """
    trained = [p.requires_grad_() for p in parameters]
    optimiser = torch.optim.Adam(trained, lr=schedule.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(schedule.epochs):
        total = 0.0
        seen = 0
        for ids in torch.randperm(n_rows, generator=generator).split(schedule.batch_size):
            optimiser.param_groups[0]["lr"] = schedule.rate(epoch + seen / n_rows)
            optimiser.zero_grad(set_to_none=True)
            value = loss(ids, epoch)
            value.backward()
            optimiser.step()
            total = total + float(value.detach()) * len(ids)
            seen = seen + len(ids)
        progress(f"epoch {epoch + 1}/{schedule.epochs}, loss {total / n_rows:.5f}")
    for parameter in trained:
        parameter.requires_grad_(False)


def cosine_distance(decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows of 1 - cosine: (B, d), (B, d), (B,) to a scalar.

    A zero row counts 1 and has no gradient.
    """
    return ((1 - torch.cosine_similarity(decoded, rows, dim=1, eps=1e-8)) * weights).mean()


def root_mean_square(decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Root of the weighted mean square of all entries' errors, a scalar."""
    # The square root has no gradient at 0.
    return ((decoded - rows).square().mean(1).mul(weights).mean() + 1e-16).sqrt()


def uniform_layer(n_in: int, n_out: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Torch's default start of a linear layer.

    Weight (n_out, n_in) and bias (n_out,), uniform within 1/sqrt(n_in).
    """
    weight, bias = (
        2 * torch.rand(shape, generator=generator) - 1 for shape in ((n_out, n_in), (n_out,))
    )
    return weight / n_in**0.5, bias / n_in**0.5


def bert_size(matrix: Tensor) -> float:
    """The number by which a matrix is divided for its entries to have the root mean square of BERT's embedding."""
    return float(matrix.square().mean().sqrt()) / BERT_ENTRY or 1.0


BERT_ENTRY = 0.05
"""Root mean square entry of bert-base-uncased's embedding, about.

The settings of B21 and B23 were found for it.
"""
