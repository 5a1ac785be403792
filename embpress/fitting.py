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
    decay_epochs: int
    """Epochs after which the learning rate is multiplied by `decay`."""
    decay: float


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
    optimiser = torch.optim.Adam(trained, lr=schedule.learning_rate)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, schedule.decay_epochs, schedule.decay)
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(schedule.epochs):
        total = 0.0
        for ids in torch.randperm(n_rows, generator=generator).split(schedule.batch_size):
            optimiser.zero_grad(set_to_none=True)
            value = loss(ids, epoch)
            value.backward()
            optimiser.step()
            total += float(value.detach()) * len(ids)
        scheduler.step()
        progress(f"epoch {epoch + 1}/{schedule.epochs}, loss {total / n_rows:.5f}")
    for parameter in trained:
        parameter.requires_grad_(False)


def cosine_distance(decoded: Tensor, rows: Tensor) -> Tensor:
    """Mean over rows of 1 - cosine: (B, d), (B, d) to a scalar. A zero row counts 1 and has no gradient."""
    return 1 - torch.cosine_similarity(decoded, rows, dim=1, eps=1e-8).mean()
