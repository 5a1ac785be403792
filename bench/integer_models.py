"""Whole models in integers of one width: a scale a row or a group, rounded alone or as by GPTQ."""

from typing import NamedTuple

from torch import Tensor
from transformers import PreTrainedModel

from embpress.formats._base import CompressedMatrix
from embpress.methods import compress
from embpress.methods._code_options import CodeOptions
from embpress.methods._gptq import round_gptq
from embpress.models.calibration import Calibration
from embpress.models.dense_matrices import find_matrices
from embpress.models.embedding import find_embedding
from embpress.models.whole_model_code import make_coders
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
    coders = make_coders(model, calibration, counts, CodeOptions(gptq=True)) if row.feedback else {}
    weights = {matrix.name: matrix.weight for matrix in find_matrices(model)}
    weights[EMBEDDING] = find_embedding(model)[1].weight.detach()
    bits = {}
    for name, weight in weights.items():
        group = min(row.group, weight.shape[1])
        if row.feedback:
            matrix: CompressedMatrix = round_gptq(coders[name], row.bits, group)
        else:
            matrix = compress(weight.contiguous(), "integer", 1, bits=row.bits, group=group)
        bits[name] = matrix.stored_bits
        weight.copy_(matrix.dense())
    of_embedding = bits.pop(EMBEDDING)
    return IntegerSizes(sum(bits.values()), of_embedding)
