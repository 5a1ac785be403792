"""Factors of compressed matrices in float32, in float16, or as integer codes with fp16 scales.

An int8 factor has codes in -127..127 and one fp16 scale for the values along its `axis`: value =
code x scale, with the smallest scale that represents the largest absolute value. An int4 factor has
codes in -7..7, two in a byte, and a scale for each `GROUP` values along its axis. Small factors
(biases, norms) have no axis and are float16 where the others are integers.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ._base import ROW_BLOCK, CompressedMatrix

FactorDtype = Literal["float32", "float16", "int8", "int4"]

TOP = 127
"""Largest int8 code; -128 is not used, so that codes are symmetric about 0."""
TOP_INT4 = 7
"""Largest int4 code; a nibble stores code + 8."""
GROUP = 64
"""Values along the axis of an int4 factor that share a scale."""

Blocks = list[tuple[int, int]]
"""First and last row + 1 of each block."""
BlockRows = Callable[[int, int], Tensor]
"""`block_rows(start, stop)` returns these rows of a factor."""


class Factor(NamedTuple):
    """Shape of a factor, and the dimension along which values share scales of integer codes."""

    shape: tuple[int, ...]
    axis: int | None = None

    def code_shape(self, dtype: str) -> tuple[int, ...]:
        """Shape of the stored bytes of an integer type."""
        *outer, last = self.shape
        return (*outer, -(-last // 2) if dtype == "int4" else last)

    def scale_shape(self, dtype: str) -> tuple[int, ...]:
        """Shape of the scales of an integer type."""
        groups = [-(-n // GROUP) if dtype == "int4" else 1 for n in self.shape]
        return tuple(max(1, groups[i]) if i == self.axis else n for i, n in enumerate(self.shape))


def bits_of(factors: dict[str, Factor], dtype: str) -> int:
    """Bits that a `FactoredMatrix` stores for these factors, including their scales."""
    total = 0
    for factor in factors.values():
        if dtype in ("int8", "int4") and factor.axis is not None:
            total += 8 * math.prod(factor.code_shape(dtype))
            total += 16 * math.prod(factor.scale_shape(dtype))
        else:
            total += (32 if dtype == "float32" else 16) * math.prod(factor.shape)
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

    The scales of an integer factor `name` are the buffer `{name}_scale`.
    """

    def __init__(self, shape: tuple[int, int], dtype: str, factors: dict[str, Factor]) -> None:
        super().__init__(shape)
        self.dtype_name = dtype
        self._factors = factors
        self._axes = {
            name: factor.axis if dtype in ("int8", "int4") else None
            for name, factor in factors.items()
        }
        for name, factor in factors.items():
            self.register_buffer(name, self._empty(name))
            if self._axes[name] is not None:
                scales = torch.zeros(factor.scale_shape(dtype), dtype=torch.float16)
                self.register_buffer(f"{name}_scale", scales)

    def _empty(self, name: str) -> Tensor:
        """A tensor of zeros as a factor is stored."""
        factor = self._factors[name]
        if self._axes[name] is None:
            dtype = torch.float32 if self.dtype_name == "float32" else torch.float16
            return torch.zeros(factor.shape, dtype=dtype)
        dtype = torch.int8 if self.dtype_name == "int8" else torch.uint8
        return torch.zeros(factor.code_shape(self.dtype_name), dtype=dtype)

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
        # Groups of rows that share an int4 scale are not divided.
        step = -(-ROW_BLOCK // GROUP) * GROUP if self.dtype_name == "int4" else ROW_BLOCK
        blocks = [(start, min(start + step, len(stored))) for start in range(0, len(stored), step)]

        def block_rows(start: int, stop: int) -> Tensor:
            return rows(start, stop).to(stored.device)

        if axis is None:
            for start, stop in blocks:
                stored[start:stop] = _check_finite(block_rows(start, stop).to(stored.dtype), name)
            return
        encode = self._store_int4 if self.dtype_name == "int4" else self._store_int8
        encode(name, axis, blocks, block_rows)

    def _store_int4(self, name: str, axis: int, blocks: Blocks, block_rows: BlockRows) -> None:
        """Fill an int4 factor and its scales block by block."""
        stored = self.get_buffer(name)
        scale = self.get_buffer(f"{name}_scale")
        for start, stop in blocks:
            codes, scales = _encode_int4(block_rows(start, stop), axis)
            first = start // GROUP if axis == 0 else start
            scale[first : first + len(scales)] = _check_finite(scales, name)
            stored[start:stop] = codes

    def _store_int8(self, name: str, axis: int, blocks: Blocks, block_rows: BlockRows) -> None:
        """Fill an int8 factor and its scales block by block."""
        stored = self.get_buffer(name)
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
        stored = getattr(self, name)
        if not self._is_coded(name):
            return stored.float()
        return self._decode(name, stored).mul_(self._scales(name))

    def factor_rows(self, name: str, ids: Tensor, dim: int = 0) -> Tensor:
        """Decode the positions `ids` of a factor's dimension `dim` to float32.

        They are gathered first, so that no others are converted.
        """
        stored = getattr(self, name).index_select(dim, ids)
        if not self._is_coded(name):
            return stored.float()
        return self._decode(name, stored).mul_(self._scales(name, ids, dim))

    def _decode(self, name: str, codes: Tensor) -> Tensor:
        """Codes of a factor, or of some of its rows, as floats."""
        if self.dtype_name == "int8":
            return codes.float()
        nibbles = torch.stack([codes & 15, codes >> 4], dim=-1).flatten(-2)
        return nibbles[..., : self._factors[name].shape[-1]].float().sub_(TOP_INT4 + 1)

    def _scales(self, name: str, ids: Tensor | None = None, dim: int = 0) -> Tensor:
        """Scales of a factor, or of the positions `ids` of a dimension, to multiply codes with."""
        scale = self.get_buffer(f"{name}_scale")
        axis = self._axes[name]
        assert axis is not None
        if ids is not None and axis != dim:
            scale = scale.index_select(dim, ids)
        if self.dtype_name == "int4":
            of_axis = ids if ids is not None and axis == dim else None
            if of_axis is None:
                of_axis = torch.arange(self._factors[name].shape[axis], device=scale.device)
            scale = scale.index_select(axis, of_axis // GROUP)
        return scale.float()

    def _is_coded(self, name: str) -> bool:
        """Whether a factor is stored as integer codes; false while it is trained."""
        return self._axes[name] is not None and name not in self._parameters

    def unfreeze(self) -> None:
        """See base class."""
        for name in self._axes:
            if name not in self._parameters:
                values = self.factor(name).clone()
                del self._buffers[name]
                self.register_parameter(name, torch.nn.Parameter(values))

    def freeze(self) -> None:
        """See base class; the scales of integer factors are computed again."""
        for name, values in list(self._parameters.items()):
            assert values is not None
            del self._parameters[name]
            self.register_buffer(name, self._empty(name).to(values.device))
            self.store(name, values.detach())
        self.prepare()

    @property
    def stored_floats(self) -> int | None:
        """See base class; None for integer codes."""
        return None if self.dtype_name in ("int8", "int4") else super().stored_floats


def _encode_int4(values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Packed int4 codes and fp16 scales of values, with a scale for each group along an axis."""
    n_groups = max(1, -(-values.shape[axis] // GROUP))
    along = values.movedim(axis, -1)
    filled = functional.pad(along, (0, n_groups * GROUP - along.shape[-1]))
    groups = filled.unflatten(-1, (n_groups, GROUP))
    scales = fp16_scales(groups.abs().amax(-1), TOP_INT4)
    codes = integer_codes(groups, scales[..., None], TOP_INT4).flatten(-2)
    codes = codes[..., : along.shape[-1]].movedim(-1, axis)
    nibbles = (codes + (TOP_INT4 + 1)).to(torch.uint8)
    nibbles = functional.pad(nibbles, (0, nibbles.shape[-1] % 2))
    low, high = nibbles.unflatten(-1, (-1, 2)).unbind(-1)
    return low | high << 4, scales.movedim(-1, axis)


def _check_finite(stored: Tensor, name: str) -> Tensor:
    """Check that values are within float16's range and return them."""
    if stored.isinf().any():
        raise UserError(
            f"factor {name} is out of float16's range: use factor_dtype float32, or rescale the "
            "matrix"
        )
    return stored
