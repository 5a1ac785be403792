"""The contract of a compression method: plan for a budget, then fit."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats._base import CompressedMatrix, row_block
from ..formats._factors import Factor, FactorDtype, bits_of
from ..numerics.matrices import FileMatrix, Rows
from ..numerics.weights import smooth_counts

Weighting = Literal["uniform", "counts", "fisher", "l1_sensitivity"]


@dataclass(frozen=True)
class Options:
    """A method's options; subclasses add their own, typed, with the paper's defaults."""

    factor_dtype: FactorDtype = "float32"
    """Precision of stored factors; with int8, biases and norms are float16."""
    weighting: Weighting = "uniform"
    """What a row's error counts in the fit.

    All alike, by smoothed corpus counts, or by a sensitivity of the model.
    """

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value = getattr(self, name)
            choices = get_args(hint)
            if choices and all(not isinstance(c, type) for c in choices):
                if not any(value == c and type(value) is type(c) for c in choices):
                    raise UserError(
                        f"option {name} is {value!r}, but must be one of {', '.join(map(repr, choices))}"
                    )
            elif get_origin(hint) is tuple:  # which YAML writes as a list
                if not isinstance(value, (list, tuple)) or not all(
                    type(v) is int and v > 0 for v in value
                ):
                    raise UserError(
                        f"option {name} is {value!r}, but must be a list of whole numbers above 0"
                    )
                object.__setattr__(self, name, tuple(value))
            elif (
                isinstance(value, bool)
                and hint is not bool
                or not isinstance(value, (hint, int) if hint is float else hint)
            ):
                raise UserError(
                    f"option {name} is {value!r}, but must be of type {getattr(hint, '__name__', hint)}"
                )
            elif isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"option {name} is {value!r}, but must be a finite number")


@dataclass(frozen=True)
class TrainedOptions(Options):
    """Options of methods that are trained by Adam on batches of rows."""

    epochs: int = 1
    batch_size: int = 1024
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0:
            raise UserError("options epochs, batch_size and learning_rate must be above 0")


@dataclass(frozen=True)
class Plan:
    """Options chosen for a budget."""

    shape: tuple[int, int]
    ratio: float
    """Ratio asked for."""
    bits: int
    """Bits that the fitted matrix will store, exactly."""
    sizes: dict[str, int]
    """What the budget decided: rank, widths, numbers of rows kept, ..."""


@dataclass
class Context:
    """What a fit may use beside the matrix."""

    counts: Tensor | None = None
    """(V,) corpus counts of each row's token."""
    special_ids: tuple[int, ...] = ()
    """Rows of special tokens ([PAD], [CLS], ...), which a method that drops rows must keep."""
    seed: int = 0
    progress: Callable[[str], None] = field(default=lambda message: None)
    sensitivity: dict[str, Tensor] = field(default_factory=dict)
    """(V,) sensitivities of the model to each row, by their name among the weightings."""

    def check(self, n_rows: int) -> None:
        """Hold what is known of rows against their number.

        Raises:
            UserError: if there is not one number, at least 0, for each row.
        """
        known = {"counts": self.counts, **self.sensitivity}
        for name, values in known.items():
            if values is not None and values.shape != (n_rows,):
                raise UserError(
                    f"{name} of shape {tuple(values.shape)} are not of this matrix, which has {n_rows} rows"
                )
            if values is not None and not bool((values >= 0).all()):
                raise UserError(
                    f"{name} hold a number below 0 or NaN, in row {int((~(values >= 0)).nonzero()[0])}"
                )
        if not all(0 <= i < n_rows for i in self.special_ids):
            raise UserError(f"special_ids {self.special_ids} are not all among the {n_rows} rows")


class Method(ABC):
    """One way to compress a (V, d) matrix.

    Subclasses live one a file in this folder and are found by scanning.
    """

    alias: ClassVar[str] = ""
    """Short name that configs may use instead of the file's.

    Written as a plain string, as it is read without importing.
    """
    label: ClassVar[str]
    """Name in tables and plots."""
    kind: ClassVar[Literal["paper", "baseline", "ours", "control"]]
    citation: ClassVar[str] = ""
    """Key of the paper in the bibliography."""
    reconstruction: ClassVar[bool] = False
    """True where the paper's full text was not available, so that details are inferred."""
    weighted: ClassVar[bool] = False
    """True where the fit can weight the rows' errors; elsewhere `weighting` must be uniform."""
    has_factors: ClassVar[bool] = True
    """False where nothing is stored as a factor, so that `factor_dtype` must be left alone."""
    supports_streaming: ClassVar[bool] = False
    """True where the fit reads the matrix by blocks of rows only.

    So that it may be a `FileMatrix`.
    """
    linear_defaults: ClassVar[dict[str, Any]] = {}
    """Options that are other than an embedding's where a linear layer's matrix is compressed and nothing else is said."""
    Options: ClassVar[type[Options]] = Options

    def __init__(self, **options: Any) -> None:
        known = {f.name for f in fields(self.Options)}
        for name in options:
            if name not in known:
                raise UserError(
                    f"{type(self).__name__} has no option {name!r}; it has {', '.join(sorted(known))}"
                )
        self.options: Any = self.Options(**options)
        if self.options.weighting != "uniform" and not self.weighted:
            raise UserError(f"{self.label} cannot weight rows: leave out option weighting")
        if self.options.factor_dtype != "float32" and not self.has_factors:
            raise UserError(f"{self.label} stores no factors: leave out option factor_dtype")

    @abstractmethod
    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """The largest sizes that fit `ratio`, in closed form.

        Raises:
            InfeasibleRatio: with the ratios that can be reached on this shape.
        """

    @abstractmethod
    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> CompressedMatrix:
        """Compress a finite float32 (V, d) matrix as planned."""

    def row_weights(self, context: Context, n_rows: int) -> Tensor:
        """Float32 (V,) weights of mean 1 of the rows' errors, as `weighting` asks.

        Raises:
            UserError: if the context lacks what the weights are made of.
        """
        weighting = self.options.weighting
        if weighting == "uniform":
            return torch.ones(n_rows)
        if weighting == "counts":
            if context.counts is None:
                raise UserError(
                    f"{self.label} with weighting: counts needs token counts: give --counts, or take weighting: uniform"
                )
            return smooth_counts(context.counts).float()
        if weighting not in context.sensitivity:
            raise UserError(
                f"{self.label} with weighting: {weighting} needs the model's sensitivity to each row"
            )
        # An error of row i moves the output by its sensitivity times its size: squared errors weigh
        # its square, as in FWSVD.
        found = context.sensitivity[weighting].double().square()
        # A row that the sample never met has no gradient, but is not free to be anything.
        found = found + found.mean().clamp_min(1e-30) * UNSEEN
        return (found / found.mean()).float()

    def bits_of(self, factors: dict[str, Factor]) -> int:
        """Bits of factors stored in the precision asked for."""
        return bits_of(factors, self.options.factor_dtype)


LARGEST_VALUE = 1e15
"""Beyond it, sums of squares leave the range of float32."""
UNSEEN = 1e-2
"""Weight of a row without any gradient, as a share of the mean row's."""


def budget_bits(shape: tuple[int, int], ratio: float) -> int:
    """Bits that may be stored: dense fp32 bits / ratio, rounded down.

    Raises:
        UserError: if the ratio is below 1 or the shape is empty.
    """
    if min(shape) < 1:
        raise UserError(f"a matrix of shape {tuple(shape)} is empty: nothing to compress")
    if not ratio >= 1:
        raise UserError(f"ratio {ratio} is below 1: a ratio is dense bits / stored bits")
    return math.floor(32 * math.prod(shape) / ratio)


def largest(fits: Callable[[int], int], budget: int, upper: int) -> int:
    """Largest n in 1..upper whose size `fits(n)` (non-decreasing) is within the budget.

    0 if none is.
    """
    low = 0
    high = upper
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) <= budget else (low, middle - 1)
    return low


def infeasible(label: str, shape: tuple[int, int], most: float) -> InfeasibleRatio:
    """The error for a ratio beyond what a method reaches.

    `most` is the highest ratio on this shape.
    """
    return InfeasibleRatio(
        f"{label} reaches at most {math.floor(most * 100) / 100:g} on {shape[0]} x {shape[1]}: ask for less"
    )


def checked_matrix(matrix: Rows, supports_streaming: bool = False) -> Rows:
    """The matrix as contiguous float32 on the CPU, after checking that it can be compressed.

    One on disk is loaded, unless the method `streams`; it is then checked block by block and given
    back as it is.

    Raises:
        UserError: if it is not 2-D, is empty, sparse or complex, has a single row, or holds NaN,
            Inf (the first bad row is named) or values whose squares overflow.
    """
    if matrix.ndim != 2 or min(matrix.shape) < 1:
        raise UserError(f"expected a non-empty 2-D matrix, got shape {tuple(matrix.shape)}")
    if matrix.shape[0] < 2:
        raise UserError("a matrix of one row has nothing to share between rows: keep it as it is")
    if isinstance(matrix, FileMatrix):
        found: Rows = matrix if supports_streaming else matrix[:]
    else:
        if matrix.layout != torch.strided or matrix.is_complex():
            raise UserError(
                f"expected a dense matrix of real numbers, got {matrix.layout}, {matrix.dtype}: convert it"
            )
        found = matrix.detach().to("cpu", torch.float32).contiguous()
    step = row_block(found.shape[1])
    for start in range(0, len(found), step):
        block = found[start : start + step]
        if (
            float(torch.linalg.vector_norm(block)) <= LARGEST_VALUE
        ):  # one pass; NaN and Inf make it one of them
            continue
        bad = (~torch.isfinite(block).all(1)).nonzero()
        if len(bad):
            row = start + int(bad[0])
            raise UserError(
                f"the matrix holds NaN or Inf, first in row {row}: repair the checkpoint before compressing"
            )
        if float(block.abs().max()) > LARGEST_VALUE:
            raise UserError(
                f"the matrix holds values beyond {LARGEST_VALUE:g}, whose squares overflow: scale it down"
            )
    return found
