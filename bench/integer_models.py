"""Whole models in integers of one width: a scale a row or a group, rounded alone or as by GPTQ."""

from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from embpress.formats.integer_rows import IntegerRows, centre
from embpress.methods import compress
from embpress.methods._layer_code import LayerCoder
from embpress.models.calibration import Calibration
from embpress.models.embedding import find_embedding
from embpress.models.whole_model_code import find_matrices, make_coders
from embpress.study.layer_kinds import EMBEDDING


class IntegerRow(NamedTuple):
    """A grid of integers for all matrices."""

    bits: int
    group: int
    """Columns that share a scale; 0 for the row."""
    feedback: bool
    """Rounded with feedback on the moments of calibration texts, as GPTQ does."""

    @property
    def label(self) -> str:
        """Name in the table."""
        scales = f"groups of {self.group}" if self.group else "rows"
        return f"{'GPTQ, ' * self.feedback}int{self.bits}, {scales}"


INTEGERS = tuple(
    IntegerRow(bits, group, feedback)
    for feedback in (False, True)
    for bits in (8, 4, 3)
    for group in (0, 64)
    if not (feedback and bits == 8)
)


class IntegerSizes(NamedTuple):
    """Bits of a model in integers."""

    layers: int
    embedding: int


def round_model(
    model: PreTrainedModel, row: IntegerRow, calibration: Calibration, counts: Tensor | None
) -> IntegerSizes:
    """Round all matrices of a float32 model in place.

    Args:
        model: the model.
        row: the grid.
        calibration: moments of its layers.
        counts: (V,) token counts, if any.
    """
    coders = make_coders(model, calibration, counts) if row.feedback else {}
    weights = {matrix.name: matrix.weight for matrix in find_matrices(model)}
    weights[EMBEDDING] = find_embedding(model)[1].weight.detach()
    bits = {}
    for name, weight in weights.items():
        group = min(row.group, weight.shape[1])
        matrix = compress(weight.contiguous(), "integer", 1, bits=row.bits, group=group)
        assert isinstance(matrix, IntegerRows)
        bits[name] = matrix.stored_bits
        rounded = matrix.dense()
        if row.feedback:
            rounded = round_as_gptq(weight, matrix, coders[name])
        weight.copy_(rounded)
    of_embedding = bits.pop(EMBEDDING)
    return IntegerSizes(sum(bits.values()), of_embedding)


def round_as_gptq(weight: Tensor, grid: IntegerRows, coder: LayerCoder) -> Tensor:
    """Round to the grid of integer rows, feeding the errors of columns back to the others.

    GPTQ (arXiv 2210.17323) from the last column to the first; scales are those of the grid.

    Args:
        weight: (n, d).
        grid: the same matrix rounded without feedback, whose bits the result takes.
        coder: of the same matrix.
    """
    factor = torch.from_numpy(coder.factor)
    n, d = weight.shape
    middle = centre(grid.width)
    scale = grid.scale.float().reshape(n, -1)
    scale = scale.repeat_interleave(grid.group or d, 1)[:, :d].clamp_min(1e-12)
    error = torch.zeros(n, d)
    rounded = torch.empty(n, d)
    for j in range(d - 1, -1, -1):
        target = weight[:, j] + error[:, j + 1 :] @ factor[j + 1 :, j]
        code = (target / scale[:, j] + middle).round().clamp(0, 2**grid.width - 1)
        rounded[:, j] = scale[:, j] * (code - middle)
        error[:, j] = weight[:, j] - rounded[:, j]
    return rounded
