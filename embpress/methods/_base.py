"""Base class of compression methods: plan sizes for a budget of bits, then fit."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_type_hints

import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats._base import CompressedMatrix, row_block
from ..formats._factors import Factor, FactorDtype, bits_of
from ..numerics.device import CPU
from ..numerics.matrices import FileMatrix, Rows
from ..numerics.weights import smooth_counts

Weighting = Literal["uniform", "counts", "fisher", "l1_sensitivity"]
LARGEST_POWER = 4
"""Of counts: above it, the weights of rare rows could be 0 in float32."""


@dataclass(frozen=True)
class Options:
    """Options of a method; subclasses add their own, with types and the paper's defaults."""

    factor_dtype: FactorDtype = "float32"
    """Precision of stored factors; biases and norms are float16 with int8 and int4."""
    weighting: Weighting = "uniform"
    """Weights of the rows' errors in the fit.

    Equal, by smoothed corpus counts, or by a sensitivity of the model to each row.
    """
    count_power: float | None = None
    """Power of the smoothed counts by which `weighting: counts` weights rows, from 0 to 4.

    None is 1, or the method's own at the ratio.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            problem = _find_problem(getattr(self, name), hint)
            if problem:
                raise UserError(f"option {name} is {getattr(self, name)!r}, but must be {problem}")
        if self.count_power is None:
            return
        if not 0 <= self.count_power <= LARGEST_POWER:
            raise UserError(
                f"option count_power is {self.count_power}, but must be from 0 to {LARGEST_POWER}"
            )
        if self.weighting != "counts":
            raise UserError("option count_power needs weighting: counts")


def _find_problem(value: object, hint: Any) -> str:
    """What an option of this type hint must be, if the value is not; else an empty string.

    Types must match exactly, except that a whole number is a valid float: YAML's `true` is no 1.
    """
    choices = get_args(hint)
    if type(None) in choices:
        return "" if value is None else _find_problem(value, choices[0])
    if choices and not any(isinstance(c, type) for c in choices):
        valid = any(value == c and type(value) is type(c) for c in choices)
        return "" if valid else f"one of {', '.join(map(repr, choices))}"
    is_bool = isinstance(value, bool)
    if is_bool != (hint is bool) or not isinstance(value, (hint, int) if hint is float else hint):
        return f"of type {getattr(hint, '__name__', hint)}"
    return "a finite number" if isinstance(value, float) and not math.isfinite(value) else ""


@dataclass(frozen=True)
class TrainedOptions(Options):
    """Options of methods that are trained with Adam on batches of rows."""

    epochs: int = 1
    batch_size: int = 1024
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise UserError("options epochs, batch_size and learning_rate must be above 0")


@dataclass(frozen=True)
class Plan:
    """Sizes chosen for a budget."""

    shape: tuple[int, int]
    ratio: float
    """Requested ratio: dense fp32 bits / stored bits."""
    bits: int
    """Exact number of bits that the fitted matrix stores."""
    sizes: dict[str, int]
    """Sizes that the budget decides: rank, widths, number of kept rows, ..."""


@dataclass
class Context:
    """Inputs of a fit beside the matrix."""

    counts: Tensor | None = None
    """(V,), corpus counts of each row's token."""
    special_ids: tuple[int, ...] = ()
    """Rows of special tokens ([PAD], [CLS], ...), which methods that drop rows keep."""
    seed: int = 0
    progress: Callable[[str], None] = field(default=lambda message: None)
    sensitivity: dict[str, Tensor] = field(default_factory=dict)
    """(V,), sensitivities of the model to each row, by name of the weighting."""
    device: torch.device = CPU
    """Where methods with `uses_device` compute; all else of the context is on the CPU."""

    def check(self, n_rows: int) -> None:
        """Check that counts and sensitivities are of a matrix of n_rows rows.

        Raises:
            UserError: if there is not one number of at least 0 for each row, or a special id is out
                of range.
        """
        row_values = {"counts": self.counts, **self.sensitivity}
        for name, values in row_values.items():
            if values is not None and values.shape != (n_rows,):
                raise UserError(
                    f"{name} have shape {tuple(values.shape)}, but the matrix has {n_rows} rows: "
                    "use those of this model"
                )
            if values is not None and not bool((values >= 0).all()):
                row = int((~(values >= 0)).nonzero()[0])
                raise UserError(f"{name} are negative or NaN in row {row}: count or measure again")
        if not all(0 <= i < n_rows for i in self.special_ids):
            raise UserError(
                f"special_ids {self.special_ids} are not all below {n_rows}, the number of rows"
            )


class Method(ABC):
    """A method that compresses a (V, d) matrix.

    Each subclass is in a file of its own in this folder, which is scanned for them.
    """

    alias: ClassVar[str] = ""
    """Short name in configs. A plain string, as it is read without importing the file."""
    label: ClassVar[str]
    """Name in tables and plots."""
    kind: ClassVar[Literal["paper", "baseline", "ours", "control"]]
    citation: ClassVar[str] = ""
    """Key of the paper, in published.csv and references.bib if it is there; only of kind paper."""
    reconstruction: ClassVar[bool] = False
    """True if the paper's full text was not available, so that details are inferred."""
    weighted: ClassVar[bool] = False
    """True if the fit can weight the rows' errors; otherwise `weighting` must be uniform."""
    sensitivity_power: ClassVar[int] = 1
    """Power of a row's sensitivity that weights its error: 1 as in the code of B23."""
    has_factors: ClassVar[bool] = True
    """False if nothing is stored as a factor, so that `factor_dtype` does not apply."""
    supports_streaming: ClassVar[bool] = False
    """True if the fit reads the matrix by blocks of rows, so that it may be a `FileMatrix`."""
    uses_device: ClassVar[bool] = False
    """True if the fit gets the matrix on the context's device and computes there.

    It pays where the fit trains for minutes. Closed forms take seconds, as long as to start CUDA,
    and other fits are loops that numba or faiss compiled for the CPU. A matrix that is read by
    blocks from the disk stays on the CPU too.
    """
    linear_defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of options for the matrix of a linear layer where they differ from embeddings."""
    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        known = {f.name for f in fields(self.Options)}
        for name in options:
            if name not in known:
                raise UserError(
                    f"{self.label} has no option {name!r}; it has {', '.join(sorted(known))}"
                )
        self.options: Any = self.Options(**options)
        if self.options.weighting != "uniform" and not self.weighted:
            raise UserError(f"{self.label} cannot weight rows: leave out option weighting")
        if self.options.factor_dtype != "float32" and not self.has_factors:
            raise UserError(f"{self.label} stores no factors: leave out option factor_dtype")

    @abstractmethod
    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """Choose the largest sizes that reach `ratio`, without the matrix.

        Raises:
            InfeasibleRatio: if the ratio cannot be reached; says which ones can on this shape.
        """

    @abstractmethod
    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> CompressedMatrix:
        """Compress a finite float32 (V, d) matrix to the planned sizes.

        The compressed matrix is on the CPU.
        """

    def row_weights(self, context: Context, n_rows: int, power: float = 1.0) -> Tensor:
        """Weights of the rows' errors by option `weighting`: float32 (V,) of mean 1.

        They are on the device on which the fit computes.

        Args:
            context: with the counts or sensitivities.
            n_rows: V.
            power: of the counts, unless option `count_power` names one.

        Raises:
            UserError: if the context lacks the counts or sensitivities.
        """
        weights = self._row_weights(context, n_rows, power)
        return weights.to(context.device) if self.uses_device else weights

    def _row_weights(self, context: Context, n_rows: int, power: float) -> Tensor:
        """`row_weights` on the CPU."""
        weighting = self.options.weighting
        if weighting == "uniform":
            return torch.ones(n_rows)
        if weighting == "counts":
            if context.counts is None:
                raise UserError(
                    f"{self.label} with weighting: counts needs token counts: give --counts, or "
                    "use weighting: uniform"
                )
            if self.options.count_power is not None:
                power = self.options.count_power
            return smooth_counts(context.counts, power).float()
        if weighting not in context.sensitivity:
            raise UserError(
                f"{self.label} with weighting: {weighting} needs the model's sensitivity to each "
                "row: use weighting: uniform, or measure it"
            )
        weights = context.sensitivity[weighting].double() ** self.sensitivity_power
        # A row that the sampled text lacks has no gradient, but its error still counts.
        weights = weights + weights.mean().clamp_min(1e-30) * UNSEEN
        return (weights / weights.mean()).float()

    def bits_of(self, factors: dict[str, Factor]) -> int:
        """Bits of factors stored in the precision of option `factor_dtype`."""
        return bits_of(factors, self.options.factor_dtype)


LARGEST_VALUE = 1e15
"""Sums of squares of larger values are out of float32's range."""
UNSEEN = 1e-2
"""Weight of a row without any gradient, as a share of the mean weight."""


def check_ratio(ratio: float) -> None:
    """Check a target ratio without a matrix.

    Raises:
        UserError: if it is below 1, or NaN.
    """
    if math.isnan(ratio):
        raise UserError("the ratio is nan, which is no number: give dense bits / stored bits")
    if ratio < 1:
        raise UserError(f"ratio {ratio:g} is below 1: a ratio is dense bits / stored bits")


def budget_bits(shape: tuple[int, int], ratio: float) -> int:
    """Budget of bits: dense fp32 bits / ratio, rounded down.

    Raises:
        UserError: if the ratio is no number from 1, or the shape is empty.
    """
    if min(shape) < 1:
        raise UserError(
            f"the matrix of shape {tuple(shape)} is empty: there is nothing to compress"
        )
    check_ratio(ratio)
    return math.floor(32 * math.prod(shape) / ratio)


def largest(size: Callable[[int], int], budget: int, upper: int) -> int:
    """Largest n in 1..upper of which `size(n)` is within the budget; 0 if there is none.

    The size must not decrease with n.
    """
    low = 0
    high = upper
    while low < high:
        middle = (low + high + 1) // 2
        if size(middle) <= budget:
            low = middle
        else:
            high = middle - 1
    return low


def infeasible(label: str, shape: tuple[int, int], most: float) -> InfeasibleRatio:
    """The error for a ratio above the highest one that a method reaches on a shape."""
    return InfeasibleRatio(
        f"{label} reaches at most {math.floor(most * 100) / 100:g} on {shape[0]} x {shape[1]}: use "
        "a lower ratio"
    )


def check_shape(shape: tuple[int, ...]) -> None:
    """Check that a matrix of a shape can be compressed.

    Raises:
        UserError: if it is not 2-D, is empty, or has a single row.
    """
    if len(shape) != 2 or min(shape) < 1:
        raise UserError(f"expected a non-empty 2-D matrix, got shape {shape}")
    if shape[0] < 2:
        raise UserError("a matrix of one row cannot be compressed: keep it as it is")


def checked_matrix(matrix: Rows, supports_streaming: bool = False) -> Rows:
    """Check that a matrix can be compressed, and return it as contiguous float32 on the CPU.

    A matrix on disk is loaded, unless the method supports streaming: it is then checked block by
    block and returned unchanged.

    Raises:
        UserError: if it is not 2-D, is empty, sparse or complex, has a single row, or holds NaN,
            Inf (with the first such row) or values whose squares overflow.
    """
    check_shape(tuple(matrix.shape))
    if isinstance(matrix, FileMatrix):
        checked: Rows = matrix if supports_streaming else matrix[:]
    else:
        if matrix.layout != torch.strided or matrix.is_complex():
            raise UserError(
                f"expected a dense matrix of real numbers, got {matrix.layout}, {matrix.dtype}: "
                "convert it"
            )
        checked = matrix.detach().to("cpu", torch.float32).contiguous()
    step = row_block(checked.shape[1])
    for start in range(0, len(checked), step):
        block = checked[start : start + step]
        # One pass: the norm of a block with NaN or Inf is NaN or Inf.
        if float(torch.linalg.vector_norm(block)) <= LARGEST_VALUE:
            continue
        bad = (~torch.isfinite(block).all(1)).nonzero()
        if len(bad):
            row = start + int(bad[0])
            raise UserError(
                f"the matrix holds NaN or Inf, first in row {row}: repair the checkpoint"
            )
        if float(block.abs().max()) > LARGEST_VALUE:
            raise UserError(
                f"the matrix holds values above {LARGEST_VALUE:g}, whose squares overflow: scale "
                "it down"
            )
    return checked
