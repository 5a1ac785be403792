"""LightToken (Wang et al., KDD 2023): low rank, then residual binary autoencoders, trained on their own loss.

    E ~ P Q + sum_j B_j D_j,   P Q the rank-r SVD,   B_j = sign(R_{j-1} W_j + c_j) in {-1, 1}^(V x C/K),

R_j what is left of E after P Q and the first j codes. Encoders W_j, c_j are dropped; P, Q, the decoders D_j and one bit
a code are stored. Loss over the sum: cosine_weight (1 - cos) + l2_weight ||E^ - E||^2 / mean ||E||^2.

Reconstruction: the paper's full text could not be had. Inferred are r, K, the width (what the budget leaves for codes,
split evenly), the form of the loss (a direction and a norm part) and the training: greedy stage by stage (signs of the
residual's principal coordinates after a random rotation, decoder by least squares), then all encoders and decoders
jointly, gradients passing straight through the sign. More than K codes are taken where one would be wider than d.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import bits as packing
from ..errors import UserError
from ..fitting import Schedule, cosine_distance, minimise
from ..formats.base import ROW_BLOCK
from ..formats.binary_residual import BinaryResidual
from ..linalg import right_singular_vectors
from .base import Context, Method, Options, Plan, budget_bits, infeasible, largest


@dataclass(frozen=True)
class LightTokenOptions(Options):
    """Sizes, loss and training."""

    rank: int = 4
    """r of the low-rank part."""
    codes: int = 2
    """K residual codes, at least."""
    cosine_weight: float = 1.0
    l2_weight: float = 1.0
    epochs: int = 1
    batch_size: int = 1024
    learning_rate: float = 3e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.codes, self.batch_size) < 1 or min(self.rank, self.epochs) < 0:
            raise UserError("options codes and batch_size must be above 0, rank and epochs at least 0")


class LightToken(Method):
    """Rank r, and as many code bits a row as the budget allows."""

    label = "LightToken"
    kind = "paper"
    citation = "wang2023lighttoken"
    reconstruction = True
    Options = LightTokenOptions

    def _bits(self, shape: tuple[int, int], n_bits: int) -> int:
        """Bits stored with this many code bits a row."""
        rows, d = shape
        rank = min(self.options.rank, d)
        return self.factor_bits * (rank * (rows + d) + n_bits * d) + rows * n_bits

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        # Whole bytes a row: what this leaves unspent is below 8 bits a row.
        n_bits = 8 * largest(lambda c: self._bits(shape, 8 * c), budget_bits(shape, ratio), 4 * shape[1])
        if not n_bits:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / self._bits(shape, 8))
        codes = min(n_bits, max(self.options.codes, -(-n_bits // shape[1])))
        sizes = {"rank": min(self.options.rank, shape[1]), "n_bits": n_bits, "codes": codes}
        return Plan(shape, ratio, bits=self._bits(shape, n_bits), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> BinaryResidual:
        """See base class."""
        options, rank, n_bits = self.options, plan.sizes["rank"], plan.sizes["n_bits"]
        # Adam's steps do not follow the size of what they change, so rows are trained at a root mean square norm of 1.
        size = matrix.square().sum(1).mean().sqrt().clamp_min(1e-30)
        matrix = matrix / size
        basis = right_singular_vectors(matrix, rank)
        left = matrix @ basis
        base = left @ basis.T
        stages = _greedy_stages(matrix - base, n_bits, plan.sizes["codes"], context.seed)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows, decoded = matrix[ids], base[ids]
            for weight, bias, decoder in stages:
                decoded = decoded + _straight_through((rows - decoded) @ weight + bias) @ decoder
            l2 = (decoded - rows).square().sum(1).mean()
            return options.cosine_weight * cosine_distance(decoded, rows) + options.l2_weight * l2

        schedule = Schedule(options.epochs, options.batch_size, options.learning_rate, 1, 0.5)
        trained = [tensor for stage in stages for tensor in stage]
        minimise(loss, trained, len(matrix), schedule, context.seed, context.progress)
        compressed = BinaryResidual(plan.shape, rank, n_bits, options.factor_dtype)
        compressed.left.copy_(left * size)
        compressed.right.copy_(basis.T)
        compressed.decoder.copy_(torch.cat([decoder for *_, decoder in stages]) * size)
        compressed.codes.copy_(packing.pack(_codes(matrix, base, stages), 1).view(len(matrix), -1))
        return compressed


Stage = tuple[Tensor, Tensor, Tensor]
"""Encoder weight (d, c), encoder bias (c,), decoder (c, d)."""


def _greedy_stages(residual: Tensor, n_bits: int, n_stages: int, seed: int) -> list[Stage]:
    """Binary codes of what is left, one after another: signs of rotated principal coordinates, decoders by least squares."""
    generator = torch.Generator().manual_seed(seed)
    stages = []
    for j in range(n_stages):
        width = n_bits // n_stages + (j < n_bits % n_stages)
        directions = right_singular_vectors(residual, width)
        # A rotation spreads the variance evenly over the bits, each of which tells only a sign.
        rotation, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
        weight = directions @ rotation
        scores = residual @ weight
        signs = _sign(scores)
        decoder = _least_squares(signs, residual)
        stages.append((weight / scores.std().clamp_min(1e-12), torch.zeros(width), decoder))
        residual = residual - signs @ decoder
    return stages


def _least_squares(signs: Tensor, target: Tensor) -> Tensor:
    """The decoder (c, d) that takes codes (V, c) nearest to target (V, d), with a small ridge for equal bits."""
    # Sums of signs are whole numbers below 2^24: exact in float32.
    normal = sum(block.T @ block for block in signs.split(ROW_BLOCK)).double()  # type: ignore[union-attr]
    normal.diagonal().add_(1e-6 * len(signs))
    right = torch.zeros(signs.shape[1], target.shape[1], dtype=torch.float64)
    for some_signs, some_rows in zip(signs.split(ROW_BLOCK), target.split(ROW_BLOCK)):
        right += (some_signs.T @ some_rows).double()
    return torch.linalg.solve(normal, right).float()


def _sign(x: Tensor) -> Tensor:
    """Sign in {-1, 1}: 0 counts as positive, as one bit has no third value."""
    return torch.where(x >= 0, 1.0, -1.0)


def _straight_through(x: Tensor) -> Tensor:
    """The sign forwards, tanh's gradient backwards."""
    soft = x.tanh()
    return soft + (_sign(x) - soft).detach()


def _codes(matrix: Tensor, base: Tensor, stages: list[Stage]) -> Tensor:
    """Bits (V, C) of all stages."""
    blocks = []
    for rows, decoded in zip(matrix.split(ROW_BLOCK), base.split(ROW_BLOCK)):
        block = []
        for weight, bias, decoder in stages:
            signs = _sign((rows - decoded) @ weight + bias)
            decoded = decoded + signs @ decoder
            block.append(signs > 0)
        blocks.append(torch.cat(block, dim=1))
    return torch.cat(blocks)
