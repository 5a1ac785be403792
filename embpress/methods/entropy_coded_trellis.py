"""Our own: entropy-coded trellis-coded quantization, its bits given out by reverse water-filling
over components and tokens.

Rows of one covariance and of weights w_i are coded at least weighted error sum_i w_i |x_i - x^_i|^2
if every component of every row is left with the same weighted error, or with all its variance where
that is less (reverse water-filling; Cover and Thomas, section 10.3.3, here with weights). So:
coordinates of the principal basis, a step that falls with the root of the row's weight and is the
same in all coordinates of the row, and an entropy code whose tables go by the spread that a
coordinate of that row is expected to have; bits then fall where they should without being allotted.
The quantizer is an 8-state trellis (`coding.trellis`), which gains about 1 dB on rounding. Weights
are smoothed corpus counts by default.

- The basis is stored in integers of 4 bits: coordinates are taken in that basis, as rough as it is,
  by its inverse, so that nothing is lost but a little orthogonality. It is most of what is stored
  beside the rows.
- A row's words are found through its length, which is stored, so that one row decodes without the
  others.
- Mixing rare rows from kept ones, as T24 does, is not combined with it: on the MiniLM table a rare
  row's 10 weights and indices take 450 bits for a relative error of 0.85, this code 380 bits for
  0.6.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from ..errors import UserError
from ..formats._base import row_block
from ..formats.entropy_coded import (
    NORM_BITS,
    SHIFT_UNIT,
    TIER_BITS,
    EntropyCoded,
    info_bytes,
    unit_columns,
)
from ..numerics import bits as packing
from ..numerics.index_tables import (
    CLASSES,
    LOW_BITS,
    OCTAVE,
    SPREADS,
    UNIT,
    WIDTH,
    IndexTables,
    fit_frequencies,
)
from ..numerics.linalg import gram
from ..numerics.matrices import Rows
from ..numerics.memory import malloc_trim
from ..numerics.row_coding import QuantizedRows, encode_rows, quantize_rows, count_indices
from ._base import Context, Method, Options, Plan, Weighting, budget_bits, infeasible

BLOCK = 1 << 18
"""Coordinates coded at once: bounds memory at some hundred bytes each."""
SAMPLE = 1 << 19
"""Coordinates of the rows on which step and tables are tuned."""
TRIALS = 10
SURVEYS = 2
"""Steps tried on the sample, and on all rows."""
MOST_TIERS = (2**TIER_BITS - 1, 24, 16, 8, 0)
"""Ranges of steps tried, the widest first. At high rates the widest is not the best: there float32
sets the smallest step of the rows that weigh most, and what room it leaves is better spent on the
others."""
MIDDLE = 4
"""Class of norm of a row whose coordinates are as wide as the spreads say."""
FILLED = 0.999
"""Share of the stream to aim for: what is coded comes out a little longer than chances tell."""
LENGTH_BITS = 8
"""Bits a row that the smallest plan sets aside for its length."""


@dataclass(frozen=True)
class EntropyCodedTrellisOptions(Options):
    """Weights, basis and the price of a bit."""

    weighting: Weighting = "counts"
    basis_bits: int = 4
    """Bits of an entry of the basis."""
    bit_price: float = 0.37
    """Squared error, in squares of half the quantizer's step, that a bit may cost.

    The rate-distortion curve's slope.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.basis_bits <= 16 or self.bit_price < 0:
            raise UserError("options basis_bits and bit_price must be 2 to 16 and at least 0")


class ECTCQ(Method):
    """The smallest step whose code fits the budget."""

    alias = "ectcq"
    label = "ECTCQ (ours)"
    kind = "ours"
    has_factors = False
    weighted = True
    supports_streaming = True
    Options = EntropyCodedTrellisOptions

    def _fixed_bits(self, shape: tuple[int, int]) -> int:
        """Bits of all but the stream."""
        return EntropyCoded(shape, self.options.basis_bits, stream_bytes=0).stored_bits

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        fixed = self._fixed_bits(shape)
        stream = (budget_bits(shape, ratio) - fixed) // 8
        least = info_bytes(shape[0], LENGTH_BITS)
        if stream < least:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / (fixed + 8 * least))
        # More than 32 bits a float are of no use.
        stream = min(stream, 4 * shape[0] * shape[1] + least)
        return Plan(shape, ratio, bits=fixed + 8 * stream, sizes={"stream_bytes": stream})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> EntropyCoded:
        """See base class."""
        compressed = EntropyCoded(plan.shape, self.options.basis_bits, plan.sizes["stream_bytes"])
        weights = self.row_weights(context, plan.shape[0])
        return _Encoder(matrix, weights, compressed, self.options.bit_price).encode(context)


class _Words(NamedTuple):
    """Some rows coded."""

    words: np.ndarray
    """uint16, one row after another."""
    length: np.ndarray
    """int64 (n,) words of each."""
    coded: int
    """Indices that a table codes."""


class _Encoder:
    """A matrix in the coordinates of its basis.

    And the search for the step that fills the stream.
    """

    def __init__(
        self, matrix: Rows, weights: Tensor, compressed: EntropyCoded, bit_price: float
    ) -> None:
        self.matrix = matrix
        self.compressed = compressed
        self.bit_price = bit_price
        n_rows, d = compressed.shape
        step = row_block(d)
        self.mean = (
            sum(
                (matrix[a : a + step].double().sum(0) for a in range(0, n_rows, step)),
                torch.zeros(d),
            )
            / n_rows
        )
        compressed.mean.copy_(self.mean)
        # All (d, d) in float64: what is not needed is let go, as of a wide matrix each is a good
        # part of the memory.
        covariance = gram(matrix).div_(n_rows).addr_(self.mean, self.mean, alpha=-1)
        malloc_trim()
        compressed.basis.copy_(_packed_axes(covariance, compressed.basis_bits))
        malloc_trim()
        columns = unit_columns(compressed.basis, d, compressed.basis_bits).double().numpy()
        # Transposed it is laid out as LAPACK wants it, which then inverts in place. Without
        # assume_a SciPy 1.17 crashes on a diagonal matrix that it may overwrite.
        inverse = torch.from_numpy(
            scipy.linalg.inv(columns.T, overwrite_a=True, check_finite=False, assume_a="general").T
        )
        variance = (inverse @ covariance).mul_(inverse).sum(1).clamp_min(0)
        self.inverse = inverse.float()
        del covariance, inverse, columns
        malloc_trim()
        # What has next to no spread is treated as a 2^-31st of the widest, to stay in the range of
        # the stored quarters.
        self.spread = variance.sqrt().clamp_min(max(float(variance.max()) ** 0.5 * 2**-31, 1e-30))
        self.quarters = (OCTAVE * self.spread.log2()).round().long()
        compressed.spread.copy_(self.quarters - self.quarters.min())
        # A factor of two in weight is half an octave of the step.
        tiers = (weights.double() / weights.min()).log2().round()
        self.tier = tiers.clamp(0, 2**TIER_BITS - 1).long()
        self._set_tables(np.zeros((2, CLASSES, WIDTH)))
        self.pool = ThreadPoolExecutor(torch.get_num_threads())

    def encode(self, context: Context) -> EntropyCoded:
        """Fill the compressed matrix."""
        n_rows, d = self.compressed.shape
        order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(context.seed))
        sample = order[: max(1, SAMPLE // d)].sort().values
        rows = torch.cat([self.matrix[i : i + 1] for i in sample.tolist()])
        for most in MOST_TIERS:
            self.tier.clamp_(max=most)
            smallest = self._smallest_step()
            log_step = self._tuned(rows, self.tier[sample], smallest, context)
            if (
                log_step > smallest
            ):  # else even that leaves room, which rows of little weight are better given
                break
        before = (0.0, 0)
        for survey in range(SURVEYS):
            words, longest, slope = self._survey(log_step, context)
            self.compressed.length_bits = max(
                1, (longest + longest // 16).bit_length()
            )  # with a little to spare
            if survey and before[0] != log_step:
                # Coordinates that code few indices but 0 save less than a bit: measured, within
                # reason.
                slope *= min(max((before[1] - words) / (log_step - before[0]) / slope, 0.4), 1)
            before = (log_step, words)
            log_step = max(smallest, log_step + (words - FILLED * self._room()) / slope)
        margin = 2.0**-10
        while not self._written(log_step, context):
            log_step = log_step + margin
            margin = 2 * margin
            if (
                margin > 1 / OCTAVE
            ):  # classes follow, down to those that are coded as 0 without a bit
                self._set_offset(log_step)
        return self.compressed

    def _smallest_step(self) -> float:
        """The smallest step, as its log2, whose widest class can be stored."""
        widest = int(self.quarters.max()) + 2 * int(self.tier.max()) + 2**NORM_BITS + UNIT
        return widest / OCTAVE - LOW_BITS - CLASSES / OCTAVE

    def _room(self) -> int:
        """Words that the stream has room for."""
        return (self.compressed.stream_bytes - self.compressed.info_bytes) // 2

    def _set_tables(self, counts: np.ndarray) -> None:
        """Fit the tables of chances to counted indices."""
        self.compressed.frequencies.copy_(fit_frequencies(counts))
        self.tables = IndexTables(self.compressed.frequencies)
        self.costs = self.tables.costs()

    def _tuned(self, rows: Tensor, tier: Tensor, log_step: float, context: Context) -> float:
        """The step, as its log2, at which a sample of rows takes its share of the stream; tables
        are fitted on the way.

        Words fall with the step along a convex curve, on which Newton's steps from the smallest one
        never pass the goal.
        """
        share = self._room() * len(rows) / self.compressed.shape[0]
        coordinates = self._coordinates(rows)
        for trial in range(TRIALS):
            self._set_offset(log_step)
            found = self._quantized(coordinates, tier, log_step)
            written = self._coded(found)
            self._set_tables(self._tallied(found)[0])
            log_step += 16 * max(0, len(written.words) - share) / max(1, written.coded)
            context.progress(
                f"step {trial + 1}/{TRIALS}: {len(written.words) / max(share, 1):.3f} of the room"
            )
        self._set_offset(log_step)
        return log_step

    def _set_offset(self, log_step: float) -> None:
        """What makes classes of spread + 2 tier + norm.

        It stays when the step is refined, as tables go with it.
        """
        offset = UNIT - OCTAVE - MIDDLE + int(self.quarters.min()) - round(OCTAVE * log_step)
        self.compressed.offset.fill_(offset)

    def _survey(self, log_step: float, context: Context) -> tuple[int, int, float]:
        """Words of all rows at a step, of the longest row, and how many fewer a step twice as large
        would take.

        Tables are fitted anew.
        """
        counts = np.zeros((2, CLASSES, WIDTH))
        excess = np.zeros((2, 2, CLASSES, 2))
        total = longest = coded = 0
        for _, found in self._blocks(log_step, context):
            written = self._coded(found)
            total = total + len(written.words)
            longest = max(longest, int(written.length.max()))
            coded += written.coded
            for sums, block in zip((counts, excess), self._tallied(found)):
                sums += block
        self._set_tables(counts)
        mean = excess[0] / excess[1].clip(1)
        self.compressed.shift.copy_(torch.from_numpy((mean * SHIFT_UNIT).round().clip(-127, 127)))
        return total, longest, max(coded, 1) / 16

    def _written(self, log_step: float, context: Context) -> bool:
        """Write the stream at a step; False if it does not fit."""
        target = self.compressed
        n_rows = self.compressed.shape[0]
        target.stream.zero_()
        room = target.stream[target.info_bytes :][: 2 * self._room()].numpy().view(np.uint16)
        done = 0
        info = torch.empty(n_rows, dtype=torch.int64)
        for ids, found in self._blocks(log_step, context):
            words, length, _ = self._coded(found)
            if done + len(words) > len(room) or int(length.max()) >> target.length_bits:
                return False
            room[done : done + len(words)] = words
            done += len(words)
            info[ids] = self.tier[ids] | torch.from_numpy(
                found.norm << TIER_BITS | length << (TIER_BITS + NORM_BITS)
            )
        packed = packing.pack(info, TIER_BITS + NORM_BITS + target.length_bits)
        target.stream[: len(packed)] = packed
        target.step.fill_(2.0**log_step)
        return True

    def _blocks(self, log_step: float, context: Context) -> Iterator[tuple[Tensor, QuantizedRows]]:
        """All rows as ids and indices, block by block."""
        n_rows, d = self.compressed.shape
        size = max(1, BLOCK // d)
        for start in range(0, n_rows, size):
            ids = torch.arange(start, min(start + size, n_rows))
            coordinates = self._coordinates(self.matrix[start : start + size])
            context.progress(f"{int(ids[-1]) + 1}/{n_rows} rows")
            yield ids, self._quantized(coordinates, self.tier[ids], log_step)

    def _coordinates(self, rows: Tensor) -> Tensor:
        """Coordinates float32 (n, d) of rows (n, d)."""
        return (rows.float() - self.mean.float()) @ self.inverse.T

    def _norms(self, samples: Tensor, more: Tensor) -> Tensor:
        """Classes (n,) of the rows' norms: by root mean square, or higher where a table could not
        hold a sample.

        Args:
            samples: (n, d) coordinates in half steps of the quantizer.
            more: (n,) what rows add to classes but for the norm's.
        """
        size = samples.abs() / 2
        widths = torch.exp2(self.compressed.spread.double() / OCTAVE).float()
        row_width = torch.exp2((more - UNIT + MIDDLE) / OCTAVE)
        typical = (size / widths).square().mean(1).sqrt() / row_width
        needed = ((size - 1) / widths).amax(1) / (SPREADS * row_width)
        classes = (
            torch.maximum(
                (OCTAVE * typical.log2()).round(), (OCTAVE * needed.clamp_min(1e-9).log2()).ceil()
            )
            + MIDDLE
        )
        return classes.clamp(0, 2**NORM_BITS - 1).long()

    def _quantized(self, coordinates: Tensor, tier: Tensor, log_step: float) -> QuantizedRows:
        """Indices of least squared error plus price of bits."""
        samples = coordinates * torch.exp2(tier / 2 - log_step)[:, None]
        more = 2 * tier + int(self.compressed.offset)
        norm = self._norms(samples, more)
        found = QuantizedRows(
            samples.numpy(),
            norm.numpy(),
            (more + norm).numpy(),
            np.empty(samples.shape, dtype=np.int64),
            np.empty(samples.shape, dtype=np.uint8),
        )
        self._side_by_side(quantize_rows, found, self._spread(), self.bit_price * self.costs)
        return found

    def _coded(self, found: QuantizedRows) -> _Words:
        """Words of some rows, one row after another."""
        parts = self._side_by_side(
            encode_rows, found, self._spread(), self.tables.frequency, self.tables.start
        )
        words, lengths, coded = zip(*parts)
        return _Words(np.concatenate(words), np.concatenate(lengths), sum(coded))

    def _tallied(self, found: QuantizedRows) -> tuple[np.ndarray, np.ndarray]:
        """See `count_indices`, over all of some rows."""
        counts, excess = zip(*self._side_by_side(count_indices, found, self._spread()))
        return sum(counts), sum(excess)

    def _spread(self) -> np.ndarray:
        """Classes int64 (d,) of coordinates."""
        return self.compressed.spread.numpy().astype(np.int64)

    def _side_by_side(
        self, function: Callable[..., Any], found: QuantizedRows, *others: Any
    ) -> list[Any]:
        """Call a compiled function on parts of the rows, one a thread.

        What it gives, in the rows' order.
        """
        bounds = np.linspace(0, len(found.norm), torch.get_num_threads() + 1).astype(int)
        parts = [
            QuantizedRows(*(values[a:b] for values in found))
            for a, b in zip(bounds, bounds[1:])
            if a < b
        ]
        return list(self.pool.map(lambda part: function(part, *others), parts))


def _packed_axes(covariance: Tensor, basis_bits: int) -> Tensor:
    """Principal axes (d, d), the widest first.

    As packed integers that fill the range in each column.
    """
    vectors = torch.linalg.eigh(covariance).eigenvectors
    top = 2 ** (basis_bits - 1) - 1
    largest = torch.maximum(vectors.amax(0), -vectors.amin(0))
    codes = [
        (rows / largest * top).round_().add_(top + 1).int().flip(1)
        for rows in vectors.split(row_block(len(vectors)))
    ]
    return packing.pack(torch.cat(codes), basis_bits)
