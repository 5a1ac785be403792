"""The training loop of methods that fit an autoencoder to the rows of one matrix with Adam."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Number of epochs, batch size and learning rate."""

    epochs: int
    batch_size: int
    learning_rate: float
    steps: tuple[int, float] | None = None
    """Step decay: number of epochs between two drops of the learning rate, and the factor of a
    drop.

    None decays the learning rate linearly to 0.
    """

    def rate(self, epoch: float) -> float:
        """Learning rate after this many epochs, which may be a fraction."""
        if self.steps is None:
            return self.learning_rate * (1 - epoch / self.epochs)
        return self.learning_rate * self.steps[1] ** (epoch // self.steps[0])


def minimize(
    loss: Callable[[Tensor, int], Tensor],
    parameters: Iterable[Tensor],
    n_rows: int,
    schedule: Schedule,
    seed: int,
    progress: Callable[[str], None],
) -> None:
    """Minimize a loss over shuffled batches of rows with Adam; parameters change in place.

    Args:
        loss: takes row ids (B,), on the device of the parameters, and the epoch; returns a scalar.
        parameters: tensors to train, all on one device.
        n_rows: number of rows, V.
        schedule: epochs, batch size, learning rate and its decay.
        seed: seeds the order of rows.
        progress: called with a message after each epoch.
    """
    trained = [p.requires_grad_() for p in parameters]
    optimizer = torch.optim.Adam(trained, lr=schedule.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    device = trained[0].device
    for epoch in range(schedule.epochs):
        total = torch.zeros((), dtype=torch.float64, device=device)
        seen = 0
        # Drawn on the CPU, so that rows have the same order on every device.
        order = torch.randperm(n_rows, generator=generator).to(device)
        for ids in order.split(schedule.batch_size):
            optimizer.param_groups[0]["lr"] = schedule.rate(epoch + seen / n_rows)
            optimizer.zero_grad(set_to_none=True)
            value = loss(ids, epoch)
            value.backward()
            optimizer.step()
            # Not read here: a GPU would have to finish each batch before the next is queued.
            total += value.detach() * len(ids)
            seen = seen + len(ids)
        progress(f"epoch {epoch + 1}/{schedule.epochs}, loss {float(total) / n_rows:.5f}")
    for parameter in trained:
        parameter.requires_grad_(False)


def cosine_distance(decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over rows of 1 - cosine: (B, d), (B, d), (B,) to a scalar.

    A zero row contributes 1 and has no gradient.
    """
    return ((1 - torch.cosine_similarity(decoded, rows, dim=1, eps=1e-8)) * weights).mean()


def root_mean_square(decoded: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Root of the weighted mean squared error over all entries, a scalar."""
    # The square root has no gradient at 0.
    return ((decoded - rows).square().mean(1).mul(weights).mean() + 1e-16).sqrt()


def uniform_layer(
    n_in: int, n_out: int, generator: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The default initialization of torch.nn.Linear: weight (n_out, n_in) and bias (n_out,).

    Both are uniform in +-1/sqrt(n_in), drawn by a generator of the CPU and moved to the device.
    """
    weight, bias = (
        2 * torch.rand(shape, generator=generator) - 1 for shape in ((n_out, n_in), (n_out,))
    )
    return (weight / n_in**0.5).to(device), (bias / n_in**0.5).to(device)


BERT_RMS = 0.05
"""Approximate root mean square of the entries of bert-base-uncased's embedding matrix.

The papers chose the hyperparameters of B21 and B23 on it.
"""


def bert_scale(matrix: Tensor) -> float:
    """The divisor that gives a matrix's entries the root mean square `BERT_RMS`; 1 for zeros."""
    return float(matrix.square().mean().sqrt()) / BERT_RMS or 1.0
