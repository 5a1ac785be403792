"""Code layers in their order, each corrected for the errors of the layers coded before it.

Coded layers change the inputs x of a later layer to y. Instead of its weight W the best linear
approximation of its dense outputs W x by these inputs is coded,

    W E[x y^T] E[y y^T]^-1,

with the second moment of y in the place of that of x (Qronos; "drift correction" of WaterSIC,
arXiv 2603.04956). The means are over the tokens of calibration texts.
"""

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..formats._base import CompressedMatrix
from ..methods._base import Context
from ..methods._code_options import CodeOptions
from ..methods._layer_code import INPUT_DAMPING, LayerCoder, Moments
from ..methods._water_level import code_at_one_level
from ..study.layer_kinds import EMBEDDING
from .calibration import Calibration
from .calibration_texts import TextBatch, run_batch, token_rows
from .dense_matrices import find_matrices
from .embedding import find_embedding


class Drift(NamedTuple):
    """Second moments of a layer's inputs, over the tokens of calibration texts."""

    inputs: Tensor
    """float64 (d, d), mean of y y^T, for inputs y of the coded model."""
    cross: Tensor
    """float64 (d, d), mean of x y^T, for inputs x of the dense model."""

    def correct(self, weight: Tensor) -> Tensor:
        """The weight (n, d) by which y gives the dense outputs best: float32 (n, d).

        Both moments are damped alike, so that the weight is the same where x and y are.
        """
        added = INPUT_DAMPING * self.inputs.diagonal().mean() * torch.eye(len(self.inputs))
        target = weight.double() @ (self.cross + added)
        return torch.linalg.solve(self.inputs + added, target, left=False).float()


def code_in_order(
    model: PreTrainedModel,
    coders: Mapping[str, LayerCoder],
    shares: Mapping[str, int],
    calibration: Calibration,
    context: Context,
    options: CodeOptions,
) -> dict[str, CompressedMatrix]:
    """Code all matrices of a model in the order in which it has them.

    Args:
        model: the dense model.
        coders: of the embedding, under `layer_kinds.EMBEDDING`, and of other matrices by layer.
        shares: bits of each matrix.
        calibration: of the model. Tables, and layers that no text reaches, are not corrected.
        context: where progress is reported.
        options: of the coders.

    Raises:
        InfeasibleRatio: if a code does not fit its bits.
    """
    coded = copy.deepcopy(model)
    codes = code_at_one_level({EMBEDDING: coders[EMBEDDING]}, shares[EMBEDDING], context)
    codes[EMBEDDING].prepare()
    find_embedding(coded)[1].weight.data = codes[EMBEDDING].dense()
    dense_inputs: Tensor | None = None
    drift: Drift | None = None
    for matrix in find_matrices(coded):
        name = matrix.name
        coder = coders[name]
        moments = calibration.moments.get(name)
        if moments is not None and not matrix.is_table:
            # Query, key and value read the same inputs.
            if dense_inputs is None or not torch.equal(moments.inputs, dense_inputs):
                dense_inputs = moments.inputs
                drift = measure_drift(model, coded, name, calibration.batches)
            if drift is not None:
                corrected = Moments(drift.inputs, moments.outputs)
                coder = LayerCoder(drift.correct(matrix.weight), corrected, options)
        codes |= code_at_one_level({name: coder}, shares[name], context)
        codes[name].prepare()
        matrix.parameter.data = matrix.as_stored(codes[name].dense())
    return codes


def measure_drift(
    dense: PreTrainedModel, coded: PreTrainedModel, name: str, batches: list[TextBatch]
) -> Drift | None:
    """Moments of the inputs of a layer in both models; None if the models do not call it.

    Args:
        dense: the dense model.
        coded: the same with the layers before this one coded.
        name: of the layer in both models.
        batches: calibration texts.
    """
    inputs = cross = torch.zeros(())
    n_tokens = 0
    for batch in batches:
        x, y = (_read_inputs(model, name, batch) for model in (dense, coded))
        if x is None or y is None:
            return None
        inputs = inputs + y.T @ y
        cross = cross + x.T @ y
        n_tokens += len(y)
    return Drift(inputs / n_tokens, cross / n_tokens) if n_tokens else None


class _Reached(Exception):
    """The model has computed the inputs of the layer, and need not run further."""


def _read_inputs(model: PreTrainedModel, name: str, batch: TextBatch) -> Tensor | None:
    """Inputs of a layer at the tokens of a batch: float64 (n, d); None if it is not called."""
    found: list[Tensor] = []

    def stop(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        found.append(inputs[0])
        raise _Reached

    handle = model.get_submodule(name).register_forward_pre_hook(stop)
    try:
        with torch.no_grad():
            run_batch(model, dict(batch.inputs))
    except _Reached:
        return token_rows(found[0], batch.mask).double()
    finally:
        handle.remove()
    return None
