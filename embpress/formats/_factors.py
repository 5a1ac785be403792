"""Factors of compressed matrices in float32, in float16, or as int8 codes with fp16 scales.

An int8 factor has codes in -127..127 and one fp16 scale for the values along its `axis`: value =
code x scale, with the smallest scale that represents the largest absolute value. Small factors
(biases, norms) have no axis and are float16 where the others are int8.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from ._base import ROW_BLOCK, CompressedMatrix

FactorDtype = Literal["float32", "float16", "int8"]

TOP = 127
"""Largest int8 code; -128 is not used, so that codes are symmetric about 0."""


class Factor(NamedTuple):
    """Shape of a factor, and the dimension along which values share an int8 scale."""

    shape: tuple[int, ...]
    axis: int | None = None


def bits_of(factors: dict[str, Factor], dtype: str) -> int:
    """Bits that a `FactoredMatrix` stores for these factors, including their scales."""
    total = 0
    for shape, axis in factors.values():
        if dtype == "int8" and axis is not None:
            total += 8 * math.prod(shape) + 16 * math.prod(
                n for i, n in enumerate(shape) if i != axis
            )
        else:
            total += (32 if dtype == "float32" else 16) * math.prod(shape)
    return total


def fp16_scales(largest: Tensor, top: float) -> Tensor:
    """Scales with which codes up to `top` represent values up to `largest`.

    float16, infinite where the scale is out of fp16's range.
    """
    scale = (largest / top).half()
    # Near 0 fp16 is coarse and may round a scale down so far that the largest value is clipped by
    # more than half a level. Adding 1 to the bits of a positive number gives the next larger one.
    clipped = scale.float() * (top + 0.5) < largest
    return torch.where(clipped, (scale.view(torch.int16) + 1).view(torch.float16), scale)


def check_fp16_range(half: Tensor, rows: Tensor, numbers: int | Tensor) -> Tensor:
    """Check that fp16 scales (n, ...) of rows (n, ...) are finite and return them.

    Args:
        half: the scales.
        rows: what they belong to.
        numbers: of the rows in errors: the first one's, or those of all (n,).

    Raises:
        UserError: naming the first row whose scale is out of range.
    """
    if half.isinf().any():
        row = int(half.isinf().flatten(1).any(1).nonzero()[0])
        largest = float(rows[row].abs().max())
        number = numbers + row if isinstance(numbers, int) else int(numbers[row])
        raise UserError(
            f"row {number} has values up to {largest:g}, so that its scale is out of "
            "fp16's range: rescale the matrix"
        )
    return half


def integer_codes(values: Tensor, scale: Tensor, top: int) -> Tensor:
    """Nearest codes in -top..top of values on the grid of a scale, as floats."""
    # Divide by the rounded scale, which decodes. Where it is 0, all values are 0.
    return (values / torch.where(scale > 0, scale.float(), 1.0)).round_().clamp_(-top, top)


class FactoredMatrix(CompressedMatrix):
    """A compressed matrix of factors in one precision, each stored as a buffer of its name.

    The scales of an int8 factor `name` are the buffer `{name}_scale`.
    """

    def __init__(self, shape: tuple[int, int], dtype: str, factors: dict[str, Factor]) -> None:
        super().__init__(shape)
        self.dtype_name = dtype
        self._stored_dtypes: dict[str, torch.dtype] = {}
        self._axes = {
            name: factor.axis if dtype == "int8" else None for name, factor in factors.items()
        }
        for name, factor in factors.items():
            axis = self._axes[name]
            stored_dtype = torch.float32 if dtype == "float32" else torch.float16
            if axis is not None:
                stored_dtype = torch.int8
            self.register_buffer(name, torch.zeros(factor.shape, dtype=stored_dtype))
            if axis is not None:
                scales = tuple(1 if i == axis else n for i, n in enumerate(factor.shape))
                self.register_buffer(f"{name}_scale", torch.zeros(scales, dtype=torch.float16))

    def store(self, name: str, values: Tensor) -> None:
        """Fill a factor with values of its shape.

        Raises:
            UserError: if the values, or their scales, are out of float16's range.
        """
        self.store_rows(name, lambda start, stop: values[start:stop])

    def store_rows(self, name: str, rows: Callable[[int, int], Tensor]) -> None:
        """Fill a factor block by block.

        Args:
            name: the factor.
            rows: `rows(start, stop)` returns these rows, on any device; called twice for each block
                if rows share scales.

        Raises:
            UserError: if the values, or their scales, are out of float16's range.
        """
        stored = self.get_buffer(name)
        axis = self._axes[name]
        blocks = [
            (start, min(start + ROW_BLOCK, len(stored)))
            for start in range(0, len(stored), ROW_BLOCK)
        ]

        def block_rows(start: int, stop: int) -> Tensor:
            return rows(start, stop).to(stored.device)

        if axis is None:
            for start, stop in blocks:
                stored[start:stop] = _check_finite(block_rows(start, stop).to(stored.dtype), name)
            return
        scale = self.get_buffer(f"{name}_scale")
        if axis == 0:
            largest = torch.zeros(scale.shape, device=scale.device)
            for start, stop in blocks:
                largest = largest.maximum(block_rows(start, stop).abs().amax(0, keepdim=True))
            scale.copy_(_check_finite(fp16_scales(largest, TOP), name))
        for start, stop in blocks:
            values = block_rows(start, stop)
            if axis > 0:
                scale[start:stop] = _check_finite(
                    fp16_scales(values.abs().amax(axis, keepdim=True), TOP), name
                )
            stored[start:stop] = integer_codes(
                values, scale if axis == 0 else scale[start:stop], TOP
            ).to(torch.int8)

    def factor(self, name: str) -> Tensor:
        """Decode a whole factor to float32. A float32 factor is not copied."""
        values = getattr(self, name).float()
        return (
            values.mul_(self.get_buffer(f"{name}_scale").float())
            if self._is_coded(name)
            else values
        )

    def factor_rows(self, name: str, ids: Tensor, dim: int = 0) -> Tensor:
        """Decode the positions `ids` of a factor's dimension `dim` to float32.

        They are gathered first, so that no others are converted.
        """
        values = getattr(self, name).index_select(dim, ids).float()
        if not self._is_coded(name):
            return values
        scale = self.get_buffer(f"{name}_scale")
        return values.mul_(
            (scale if self._axes[name] == dim else scale.index_select(dim, ids)).float()
        )

    def _is_coded(self, name: str) -> bool:
        """Whether a factor is stored as int8 codes; false while it is trained."""
        return self._axes[name] is not None and name not in self._parameters

    def unfreeze(self) -> None:
        """See base class."""
        for name in self._axes:
            if name not in self._parameters:
                values = self.factor(name).clone()
                stored = self.get_buffer(name)
                self._stored_dtypes[name] = stored.dtype
                del self._buffers[name]
                self.register_parameter(name, torch.nn.Parameter(values))

    def freeze(self) -> None:
        """See base class; the scales of int8 factors are computed again."""
        for name, values in list(self._parameters.items()):
            assert values is not None
            del self._parameters[name]
            self.register_buffer(
                name, values.new_empty(values.shape, dtype=self._stored_dtypes[name])
            )
            self.store(name, values.detach())
        self.prepare()

    @property
    def stored_floats(self) -> int | None:
        """See base class; None for int8."""
        return None if self.dtype_name == "int8" else super().stored_floats


def _check_finite(stored: Tensor, name: str) -> Tensor:
    """Check that values are within float16's range and return them."""
    if stored.isinf().any():
        raise UserError(
            f"factor {name} is out of float16's range: use factor_dtype float32, or rescale the "
            "matrix"
        )
    return stored
