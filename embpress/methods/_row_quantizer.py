"""Rows of coordinates to indices and words, with the tables and classes of ECTCQ."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..formats.entropy_coded import NORM_BITS, EntropyCoded
from ..numerics.index_tables import (
    CLASSES,
    OCTAVE,
    SPREADS,
    UNIT,
    WIDTH,
    IndexTables,
    fit_frequencies,
)
from ..numerics.row_coding import (
    QuantizedRows,
    count_indices,
    decoded_levels,
    encode_rows,
    quantize_rows,
)
from ._row_stream import RowsCode

BIT_PRICE = 0.37
"""Squared error, in squared half steps of the quantizer, that is accepted to save a bit.

This is the slope of the rate-distortion curve.
"""
SCALAR_BIT_PRICE = 0.46
"""The same without the trellis: 2 log 2 times the error of rounding, a third."""
MIDDLE = 8
"""Norm class of a row whose coordinates are as wide as the spread classes say."""


class RowQuantizer:
    """Quantizes and encodes blocks of rows with the tables of a compressed matrix, in threads."""

    def __init__(self, compressed: EntropyCoded) -> None:
        self.compressed = compressed
        self.pool = ThreadPoolExecutor(torch.get_num_threads())
        self.set_tables(np.zeros((2, CLASSES, WIDTH)))

    def set_tables(self, counts: np.ndarray) -> None:
        """Fit the frequency tables to counts of indices."""
        self.compressed.frequencies.copy_(fit_frequencies(counts))
        self.tables = IndexTables(self.compressed.frequencies)
        self.costs = self.tables.costs()

    def _norm_classes(self, samples: Tensor, class_offset: Tensor) -> Tensor:
        """Norm classes of rows: by root mean square, or higher if a table could not hold a sample.

        Args:
            samples: (n, d), coordinates in half steps of the quantizer.
            class_offset: (n,), what rows add to spread classes, without the norm class.

        Returns:
            int64 (n,).
        """
        size = samples.abs() / 2
        widths = torch.exp2(self.compressed.spread.double() / OCTAVE).float()
        row_width = torch.exp2((class_offset - UNIT + MIDDLE) / OCTAVE)
        typical = (size / widths).square().mean(1).sqrt() / row_width
        needed = ((size - 1) / widths).amax(1) / (SPREADS * row_width)
        by_size = (OCTAVE * typical.log2()).round()
        by_range = (OCTAVE * needed.clamp_min(1e-9).log2()).ceil()
        return (torch.maximum(by_size, by_range) + MIDDLE).clamp(0, 2**NORM_BITS - 1).long()

    def quantize(self, coordinates: Tensor, tier: Tensor, log_step: float) -> QuantizedRows:
        """Quantize coordinates (n, d) of rows of tiers (n,)."""
        samples = coordinates * torch.exp2(tier / 2 - log_step)[:, None]
        class_offset = 2 * tier + int(self.compressed.offset)
        norm_class = self._norm_classes(samples, class_offset)
        block = QuantizedRows(
            samples.numpy(),
            norm_class.numpy(),
            (class_offset + norm_class).numpy(),
            np.empty(samples.shape, dtype=np.int64),
            np.empty(samples.shape, dtype=np.uint8),
        )
        scalar = self.compressed.scalar
        price = (SCALAR_BIT_PRICE if scalar else BIT_PRICE) * self.costs
        self._map_parts(quantize_rows, block, self._spread(), price, scalar)
        return block

    def encode(self, block: QuantizedRows) -> RowsCode:
        """Encode quantized rows."""
        parts = self._map_parts(
            encode_rows, block, self._spread(), self.tables.frequency, self.tables.start
        )
        words, lengths, coded = zip(*parts)
        return RowsCode(list(words), list(lengths), sum(coded))

    def count(self, block: QuantizedRows) -> tuple[np.ndarray, np.ndarray]:
        """Counts and excesses of quantized rows, see `count_indices`."""
        counts, excess = zip(*self._map_parts(count_indices, block, self._spread()))
        return sum(counts), sum(excess)

    def _spread(self) -> np.ndarray:
        """Spread classes of the coordinates, int64 (d,)."""
        return self.compressed.spread.numpy().astype(np.int64)

    def _map_parts(
        self, function: Callable[..., Any], block: QuantizedRows, *arguments: Any
    ) -> list[Any]:
        """Call a compiled function on parts of a block, one per thread; results in row order."""
        bounds = np.linspace(0, len(block.norm_class), torch.get_num_threads() + 1).astype(int)
        parts = [
            QuantizedRows(*(values[a:b] for values in block))
            for a, b in zip(bounds, bounds[1:])
            if a < b
        ]
        return list(self.pool.map(lambda part: function(part, *arguments), parts))

    def decode(self, block: QuantizedRows, chosen: Tensor, row_step: Tensor) -> Tensor:
        """Decoded coordinates of chosen rows (n,) of a block, whose steps are (n,): (n, d)."""
        part = QuantizedRows(*(values[chosen.numpy()] for values in block))
        levels = decoded_levels(part, self._spread(), self.compressed.shift.numpy())
        return torch.from_numpy(levels) * row_step[:, None].float()
