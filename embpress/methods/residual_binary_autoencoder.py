"""LightToken (Wang et al., KDD 2023): low rank, then residual binary autoencoders, trained on their
own loss.

    E ~ P Q + sum_j B_j D_j,   P Q the rank-r SVD,   B_j = sign(R_{j-1} W_j + c_j) in {-1, 1}^(V x
    C/K),

R_j what is left of E after P Q and the first j codes. Encoders W_j, c_j are dropped; P, Q, the
decoders D_j and one bit a code are stored. Loss over the sum: cosine_weight mean_i (1 - cos) +
l2_weight mean_i ||E^ - E||^2 / mean ||E||^2.

Reconstruction: the paper's full text could not be had. From its abstract: a low-rank part, residual
binary autoencoders, a new loss, ratios of 5 to 25. Inferred, and why:
- r = 4 and K = 2: small enough that float32 factors leave 464 bits a row for codes at the
  abstract's 25x on BERT's 30,522 x 768, and the fewest codes that make a residual; no source names
  either;
- the width of a code: what the budget leaves, split evenly over the codes, of which there are more
  where one would be wider than d;
- the loss's form: a direction and a norm part, the two of which earlier losses for embeddings were
  made (B21);
- the training: greedy stage by stage (signs of the residual's principal coordinates after a random
  rotation, as in iterative quantization, decoder by least squares), then all encoders and decoders
  jointly, gradients passing straight through the sign. The abstract's "residual" says that stages
  follow one another, not whether they are then trained together.

Ablations: `rank` (0 leaves the low-rank part out, and on narrow matrices saves bits that codes use
better), `codes`, `width`, the two weights of the loss, `training: greedy`, `weighting`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import ROW_BLOCK
from ..formats.binary_residual import BinaryResidual
from ..numerics import bits as packing
from ..numerics.adam import Schedule, cosine_distance, minimize
from ..numerics.linalg import right_singular_vectors
from ._base import Context, Method, Plan, TrainedOptions, budget_bits, infeasible, largest


@dataclass(frozen=True)
class ResidualBinaryAutoencoderOptions(TrainedOptions):
    """Sizes, loss and training."""

    rank: int = 4
    """r of the low-rank part."""
    codes: int = 2
    """K residual codes; at least, where the budget decides their width."""
    width: int = 0
    """Bits of a code; 0 takes what the budget leaves."""
    cosine_weight: float = 1.0
    l2_weight: float = 1.0
    training: Literal["joint", "greedy"] = "joint"
    """Greedy stages alone, or all of them trained together afterwards."""
    batch_size: int = 1024
    learning_rate: float = 3e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            self.codes < 1
            or min(self.rank, self.width) < 0
            or min(self.cosine_weight, self.l2_weight) < 0
        ):
            raise UserError(
                "option codes must be above 0, rank, width, cosine_weight and l2_weight at least 0"
            )
        if self.width * self.codes % 8:
            raise UserError(
                f"options codes x width are {self.codes} x {self.width} bits, but a row's codes must be whole bytes"
            )


class LightToken(Method):
    """Rank r, and as many code bits a row as the budget allows."""

    alias = "lighttoken"
    label = "LightToken"
    kind = "paper"
    citation = "wang2023lighttoken"
    reconstruction = True
    weighted = True
    Options = ResidualBinaryAutoencoderOptions

    def _bits(self, shape: tuple[int, int], n_bits: int) -> int:
        """Bits stored with this many code bits a row."""
        factors = BinaryResidual.factors(shape, min(self.options.rank, *shape), n_bits)
        return self.bits_of(factors) + shape[0] * n_bits

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class.

        Raises:
            UserError: if the option width is above d.
        """
        if self.options.width > shape[1]:
            raise UserError(
                f"option width is {self.options.width}, but a code has at most d = {shape[1]} bits: take more codes"
            )
        budget = budget_bits(shape, ratio)
        codes = self.options.codes
        wanted = self.options.codes * self.options.width
        # Whole bytes a row: what this leaves unspent is below 8 bits a row.
        n_bits = 8 * largest(lambda c: self._bits(shape, 8 * c), budget, 4 * shape[1])
        if not n_bits or n_bits < wanted:
            raise infeasible(
                self.label, shape, 32 * shape[0] * shape[1] / self._bits(shape, wanted or 8)
            )
        n_bits = wanted or n_bits
        codes = codes if wanted else min(n_bits, max(codes, -(-n_bits // shape[1])))
        sizes = {"rank": min(self.options.rank, *shape), "n_bits": n_bits, "codes": codes}
        return Plan(shape, ratio, bits=self._bits(shape, n_bits), sizes=sizes)

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> BinaryResidual:
        """See base class."""
        options = self.options
        rank = plan.sizes["rank"]
        n_bits = plan.sizes["n_bits"]
        weights = self.row_weights(context, len(matrix))
        # Adam's steps do not follow the size of what they change, so rows are trained at a root
        # mean square norm of 1.
        size = matrix.square().sum(1).mean().sqrt().clamp_min(1e-30)
        matrix = matrix / size
        basis = right_singular_vectors(matrix, rank, weights)
        left = matrix @ basis
        base = left @ basis.T
        stages = _greedy_stages(matrix - base, weights, n_bits, plan.sizes["codes"], context.seed)

        def loss(ids: Tensor, epoch: int) -> Tensor:
            rows = matrix[ids]
            decoded = base[ids]
            for weight, bias, decoder in stages:
                decoded = decoded + _straight_through((rows - decoded) @ weight + bias) @ decoder
            l2 = ((decoded - rows).square().sum(1) * weights[ids]).mean()
            return (
                options.cosine_weight * cosine_distance(decoded, rows, weights[ids])
                + options.l2_weight * l2
            )

        if options.training == "joint":
            schedule = Schedule(options.epochs, options.batch_size, options.learning_rate)
            trained = [tensor for stage in stages for tensor in stage]
            minimize(loss, trained, len(matrix), schedule, context.seed, context.progress)
        compressed = BinaryResidual(plan.shape, rank, n_bits, options.factor_dtype)
        compressed.store("left", left * size)
        compressed.store("right", basis.T)
        compressed.store("decoder", torch.cat([decoder for *_, decoder in stages]) * size)
        compressed.codes.copy_(packing.pack(_codes(matrix, base, stages), 1).view(len(matrix), -1))
        return compressed


Stage = tuple[Tensor, Tensor, Tensor]
"""Encoder weight (d, c), encoder bias (c,), decoder (c, d)."""


def _greedy_stages(
    residual: Tensor, weights: Tensor, n_bits: int, n_stages: int, seed: int
) -> list[Stage]:
    """Binary codes of what is left, one after another.

    Signs of rotated principal coordinates, decoders by least squares.
    """
    generator = torch.Generator().manual_seed(seed)
    stages = []
    for j in range(n_stages):
        width = n_bits // n_stages + (j < n_bits % n_stages)
        directions = right_singular_vectors(residual, width, weights)
        # A rotation spreads the variance evenly over the bits, each of which tells only a sign.
        rotation, _ = torch.linalg.qr(torch.randn(directions.shape[1], width, generator=generator))
        weight = directions @ rotation
        scores = residual @ weight
        signs = _sign(scores)
        decoder = _least_squares(signs, residual, weights)
        stages.append((weight / scores.std().clamp_min(1e-12), torch.zeros(width), decoder))
        residual = residual - signs @ decoder
    return stages


def _least_squares(signs: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The decoder (c, d) that takes codes (V, c) nearest to target (V, d), rows weighted.

    With a ridge for equal bits.
    """
    normal = torch.zeros(signs.shape[1], signs.shape[1], dtype=torch.float64)
    right = torch.zeros(signs.shape[1], target.shape[1], dtype=torch.float64)
    for some_signs, some_rows, some_weights in zip(
        *(x.split(ROW_BLOCK) for x in (signs, target, weights))
    ):
        weighted = some_signs * some_weights[:, None]
        normal += (weighted.T @ some_signs).double()
        right += (weighted.T @ some_rows).double()
    normal.diagonal().add_(1e-6 * weights.double().sum())
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
