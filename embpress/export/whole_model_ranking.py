"""Rank codes of a whole model at a size limit by the divergence from the dense model they predict.

The size limit holds for all stored tensors; a megabyte is 10^6 bytes. No text is predicted: the
divergence is that of the second moments (`methods._layer_code`), to which the loss of a matrix is a
quadratic form in its error.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InfeasibleRatio, UserError
from ..formats._base import CompressedMatrix
from ..methods import WHOLE_MODELS
from ..methods._code_options import ALL, BASELINES, CodeOptions
from ..methods._layer_code import LayerCoder
from ..models.calibration import Calibration
from ..models.whole_model_code import (
    code_within,
    count_dense_bits,
    count_other_bits,
    weighed_coders,
)
from .model_source import locate_model
from .ranking import MEGABYTE
from .whole_model import OpenedModel, open_whole_model

OWN_CODE = "ECTCQ"
CODES: Mapping[str, Mapping[str, bool]] = {OWN_CODE: {}, **BASELINES}
"""Options of the codes that are compared, by label."""
NO_TEXTS = (
    OWN_CODE,
    *(label for label, own in BASELINES.items() if not CodeOptions.parse(own).calibration),
)
"""Codes that are compared without calibration texts."""


@dataclass(frozen=True)
class WholeModelCandidate:
    """A code of a whole model within the size limit."""

    label: str
    method: str
    options: dict[str, bool]
    """Options of the code, for `compress --matrices all --option`."""
    bytes: int
    ratio: float
    """Dense fp32 bits of all parameters / bits of all stored tensors."""
    loss: float
    """Expected divergence from the dense model in nats a calibration text; without these the mean
    squared error of the matrices, relative to their variances, in %."""


@dataclass(frozen=True)
class WholeModelRanking:
    """All codes, the one of least expected divergence first."""

    candidates: list[WholeModelCandidate]
    target_ratio: float
    max_megabytes: float
    calibration_texts: int
    """0 if `loss` is a relative error."""
    calibration_tokens: int

    @property
    def best(self) -> WholeModelCandidate:
        """The first candidate."""
        return self.candidates[0]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def rank_whole_models(
    model: str | Path,
    max_megabytes: float,
    *,
    calibration: str | Path | Sequence[str] | None = None,
    counts: str | Path | Tensor | None = None,
    texts: Sequence[str | Path] = (),
    seed: int = 0,
    progress: Callable[[str], None] = lambda message: None,
) -> WholeModelRanking:
    """Code all matrices of a model at a size by several codes, and rank them.

    Args:
        model: see `compress_whole_model`.
        max_megabytes: size limit of all stored tensors, in 10^6 bytes.
        calibration: see `compress_whole_model`. Without texts only codes without data are compared.
        counts: see `compress_whole_model`.
        texts: see `compress_whole_model`.
        seed: seed of the calibration.
        progress: called with a message about every code and level.

    Raises:
        UserError: if an argument cannot be used, or the size is not below the dense model's.
        InfeasibleRatio: if no code fits.
    """
    opened = open_whole_model(
        locate_model(model),
        calibration,
        counts,
        texts,
        (seed, progress),
        lambda dense: _bits_of_matrices(dense, max_megabytes),
    )
    dense = count_dense_bits(opened.source.model)
    other_bits = count_other_bits(opened.source.model)
    budget = _bits_of_matrices(opened.source.model, max_megabytes)
    reference = _weighed(opened, ALL, budget)
    found = []
    for label, codes in _codes_that_fit(opened, reference, budget, max_megabytes):
        bits = other_bits + sum(code.stored_bits for code in codes.values())
        loss = _expected_loss(reference, codes)
        if not opened.calibration.n_texts:
            loss *= 200 / sum(coder.weight.size for coder in reference.values())
        options = dict(CODES[label])
        found.append(
            WholeModelCandidate(label, WHOLE_MODELS, options, bits // 8, dense / bits, loss)
        )
    found.sort(key=lambda candidate: (candidate.loss, candidate.bytes))
    return WholeModelRanking(
        found,
        dense / (8 * max_megabytes * MEGABYTE),
        max_megabytes,
        opened.calibration.n_texts,
        opened.calibration.n_tokens,
    )


def _bits_of_matrices(model: PreTrainedModel, max_megabytes: float) -> int:
    """Bits that a size leaves for the codes of all matrices of a dense model.

    Raises:
        UserError: if the size is not below the dense model's.
        InfeasibleRatio: if it leaves none.
    """
    dense = count_dense_bits(model)
    if not 0 < max_megabytes * MEGABYTE < dense / 8:
        raise UserError(
            f"{max_megabytes:g} MB is no size for a model that takes {dense / 8 / MEGABYTE:.3g} MB "
            "dense in fp32: give a number above 0 and below that"
        )
    other_bits = count_other_bits(model)
    budget = int(8 * max_megabytes * MEGABYTE) - other_bits
    if budget <= 0:
        raise InfeasibleRatio(
            f"the weights that are not coded take {other_bits / 8 / MEGABYTE:.3g} MB, and "
            f"{max_megabytes:g} MB are the limit of all weights: allow more megabytes"
        )
    return budget


def _codes_that_fit(
    opened: OpenedModel, reference: dict[str, LayerCoder], budget: int, max_megabytes: float
) -> Iterator[tuple[str, dict[str, CompressedMatrix]]]:
    """Code all matrices by each of CODES that needs no texts or has them.

    Raises:
        InfeasibleRatio: after the last code, if none fits.
    """
    progress = opened.source.context.progress
    reasons = []
    labels = [label for label in CODES if opened.calibration.n_texts or label in NO_TEXTS]
    for label in labels:
        progress(f"coding: {label}")
        try:
            codes = _code(opened, reference, CodeOptions.parse(CODES[label]), budget)
        except InfeasibleRatio as reason:
            progress(f"{label} does not fit: {reason}")
            reasons.append(f"{label}: {reason}")
        else:
            yield label, codes
    if len(reasons) == len(labels):
        raise InfeasibleRatio(
            f"no code fits into {max_megabytes:g} MB ({'; '.join(reasons)}): allow more megabytes"
        )


def _code(
    opened: OpenedModel, reference: dict[str, LayerCoder], options: CodeOptions, budget: int
) -> dict[str, CompressedMatrix]:
    """All matrices of a model, coded within so many bits.

    Coders with the options ALL are those of `reference`, whose importances take long to measure.
    """
    coders = reference if options == ALL else _weighed(opened, options, budget)
    return code_within(coders, budget, opened.source.context, options)


def _weighed(opened: OpenedModel, options: CodeOptions, budget: int) -> dict[str, LayerCoder]:
    """Coders of all matrices of a model, whose importances are measured at a budget."""
    calibration = opened.calibration if options.calibration else Calibration()
    source = opened.source
    return weighed_coders(source.model, calibration, source.context.counts, options, budget)


def _expected_loss(reference: dict[str, LayerCoder], codes: dict[str, CompressedMatrix]) -> float:
    """Loss of decoded matrices by the moments of `reference`."""
    loss = 0.0
    while codes:
        name, code = codes.popitem()
        code.prepare()
        loss += reference[name].expected_loss(code.dense())
    return loss
