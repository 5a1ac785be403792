"""Our own: entropy-coded trellis-coded quantisation, its bits given out by reverse water-filling over components and tokens.

Rows of one covariance and of weights w_i are coded at least weighted error sum_i w_i |x_i - x^_i|^2 if every component of
every row is left with the same weighted error, or with all its variance where that is less (reverse water-filling; Cover and
Thomas, section 10.3.3, here with weights). So: coordinates of the principal basis, a step that falls with the root of the
row's weight and is the same in all coordinates of the row, and an entropy code whose tables go by the spread that a
coordinate of that row is expected to have; bits then fall where they should without being allotted. The quantiser is an
8-state trellis (`embpress.trellis`), which gains about 1 dB on rounding. Weights are smoothed corpus counts by default.

- The basis is stored in integers of 4 bits: coordinates are taken in that basis, as rough as it is, by its inverse, so that
  nothing is lost but a little orthogonality. It is most of what is stored beside the rows.
- A row's words are found through its length, which is stored, so that one row decodes without the others.
- Mixing rare rows from kept ones, as T24 does, is not combined with it: on the MiniLM table a rare row's 10 weights and
  indices take 450 bits for a relative error of 0.85, this code 380 bits for 0.6.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import bits as packing
from .. import entropy_coding
from ..errors import UserError
from ..formats.base import row_block
from ..formats.entropy_coded import NORM_BITS, SHIFT_UNIT, TIER_BITS, EntropyCoded, info_bytes, unit_columns
from ..index_tables import (
    CLASSES,
    LOW_BITS,
    OCTAVE,
    SPREADS,
    UNIT,
    WIDEST,
    WIDTH,
    IndexTables,
    coded_coordinates,
    fit_frequencies,
    high_part,
    raw_part,
    split_class,
)
from ..linalg import gram
from ..matrices import Rows
from ..trellis import cheapest_path, level, nearest_indices
from .base import Context, Method, Options, Plan, Weighting, budget_bits, infeasible

BLOCK = 1 << 19
"""Coordinates coded at once: bounds memory at some hundred bytes each."""
SAMPLE = 1 << 19
"""Coordinates of the rows on which step and tables are tuned."""
TRIALS, SURVEYS = 7, 2
"""Steps tried on the sample, and on all rows."""
MIDDLE = 4
"""Class of norm of a row whose coordinates are as wide as the spreads say."""
FILLED = 0.999
"""Share of the stream to aim for: what is coded comes out a little longer than chances tell."""
LENGTH_BITS = 8
"""Bits a row that the smallest plan sets aside for its length."""


@dataclass(frozen=True)
class ECTCQOptions(Options):
    """Weights, basis and the price of a bit."""

    weighting: Weighting = "counts"
    basis_bits: int = 4
    """Bits of an entry of the basis."""
    bit_price: float = 0.37
    """Squared error, in squares of half the quantiser's step, that a bit may cost: the rate-distortion curve's slope."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.basis_bits <= 16 or self.bit_price < 0:
            raise UserError("options basis_bits and bit_price must be 2 to 16 and at least 0")


class ECTCQ(Method):
    """The smallest step whose code fits the budget."""

    label = "ECTCQ (ours)"
    kind = "ours"
    weighted = True
    streams = True
    Options = ECTCQOptions

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


@dataclass
class _Quantised:
    """Some rows as indices: (d, n) each, d the coordinates that any of the rows uses."""

    norm: Tensor
    """(n,) classes of the rows' norms."""
    index: Tensor
    quantiser: Tensor
    table: Tensor
    low: Tensor
    high: Tensor
    """Coded parts of the indices."""
    excess: Tensor
    """By how much samples are larger than their levels, in half steps."""


class _Encoder:
    """A matrix in the coordinates of its basis, and the search for the step that fills the stream."""

    def __init__(self, matrix: Rows, weights: Tensor, compressed: EntropyCoded, bit_price: float) -> None:
        self.matrix, self.compressed, self.bit_price = matrix, compressed, bit_price
        n_rows, d = compressed.shape
        step = row_block(d)
        self.mean = sum((matrix[a : a + step].double().sum(0) for a in range(0, n_rows, step)), torch.zeros(d)) / n_rows
        compressed.mean.copy_(self.mean)
        # All (d, d) in float64: what is not needed is let go, as of a wide matrix each is a good part of the memory.
        covariance = gram(matrix).div_(n_rows).addr_(self.mean, self.mean, alpha=-1)
        compressed.basis.copy_(_packed_axes(covariance, compressed.basis_bits))
        inverse = torch.linalg.inv(unit_columns(compressed.basis, d, compressed.basis_bits).double())
        variance = (inverse @ covariance).mul_(inverse).sum(1).clamp_min(0)
        self.inverse = inverse.float()
        # What has next to no spread is treated as a 2^-31st of the widest, to stay in the range of the stored quarters.
        self.spread = variance.sqrt().clamp_min(max(float(variance.max()) ** 0.5 * 2**-31, 1e-30))
        self.quarters = (OCTAVE * self.spread.log2()).round().long()
        compressed.spread.copy_(self.quarters - self.quarters.min())
        # A factor of two in weight is half an octave of the step.
        tiers = (weights.double() / weights.min()).log2().round()
        self.tier = tiers.clamp(0, 2**TIER_BITS - 1).long()
        self._set_tables(np.zeros((2, CLASSES, WIDTH)))

    def encode(self, context: Context) -> EntropyCoded:
        """Fill the compressed matrix."""
        n_rows, d = self.compressed.shape
        order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(context.seed))
        sample = order[: max(1, SAMPLE // d)].sort().values
        rows = torch.cat([self.matrix[i : i + 1] for i in sample.tolist()])
        log_step, before = self._tuned(rows, self.tier[sample], context), (0.0, 0)
        for survey in range(SURVEYS):
            words, longest, slope = self._survey(log_step, context)
            self.compressed.length_bits = max(1, (longest + longest // 16).bit_length())  # with a little to spare
            if survey and before[0] != log_step:
                # Coordinates that code few indices but 0 save less than a bit: measured, within reason.
                slope *= min(max((before[1] - words) / (log_step - before[0]) / slope, 0.4), 1)
            before = (log_step, words)
            log_step += (words - FILLED * self._room()) / slope
        margin = 2.0**-10
        while not self._written(log_step, context):
            log_step, margin = log_step + margin, 2 * margin
        return self.compressed

    def _room(self) -> int:
        """Words that the stream has room for."""
        return (self.compressed.stream_bytes - self.compressed.info_bytes) // 2

    def _set_tables(self, counts: np.ndarray) -> None:
        """Fit the tables of chances to counted indices."""
        self.compressed.frequencies.copy_(fit_frequencies(counts))
        self.tables = IndexTables(self.compressed.frequencies)
        self.costs = self.tables.costs().flatten()

    def _tuned(self, rows: Tensor, tier: Tensor, context: Context) -> float:
        """The step, as its log2, at which a sample of rows takes its share of the stream; tables are fitted on the way."""
        share = self._room() * len(rows) / self.compressed.shape[0]
        coordinates = self._coordinates(rows)
        # From the smallest step whose widest class can be stored. Words fall with the step along a convex curve, on which
        # Newton's steps from this side never pass the goal.
        widest = int(self.quarters.max()) + 2 * int(tier.max()) + 2**NORM_BITS + UNIT
        log_step = widest / OCTAVE - LOW_BITS - CLASSES / OCTAVE
        for trial in range(TRIALS):
            self._set_offset(log_step)
            found = self._quantised(coordinates, tier, log_step)
            words = int(self._coded(found)[1].sum())
            self._set_tables(_counted(found))
            log_step += 16 * max(0, words - share) / max(1, int((found.table > 0).sum()))
            context.progress(f"step {trial + 1}/{TRIALS}: {words / max(share, 1):.3f} of the room")
        self._set_offset(log_step)
        return log_step

    def _set_offset(self, log_step: float) -> None:
        """What makes classes of spread + 2 tier + norm. It stays when the step is refined, as tables go with it."""
        offset = UNIT - OCTAVE - MIDDLE + int(self.quarters.min()) - round(OCTAVE * log_step)
        self.compressed.offset.fill_(offset)

    def _survey(self, log_step: float, context: Context) -> tuple[int, int, float]:
        """Words of all rows at a step, of the longest row, and how many fewer a step twice as large would take.

        Tables are fitted anew.
        """
        counts, excess = np.zeros((2, CLASSES, WIDTH)), np.zeros((2, 2, CLASSES, 2))
        total = longest = used = 0
        for _, found in self._blocks(log_step, context):
            words = self._coded(found)[1]
            total, longest, used = (
                total + int(words.sum()),
                max(longest, int(words.max())),
                used + int((found.table > 0).sum()),
            )
            counts += _counted(found)
            excess += _summed_excess(found)
        self._set_tables(counts)
        mean = excess[0] / excess[1].clip(1)
        self.compressed.shift.copy_(torch.from_numpy((mean * SHIFT_UNIT).round().clip(-127, 127)))
        return total, longest, max(used, 1) / 16

    def _written(self, log_step: float, context: Context) -> bool:
        """Write the stream at a step; False if it does not fit."""
        target, n_rows = self.compressed, self.compressed.shape[0]
        target.stream.zero_()
        room, done = target.stream[target.info_bytes :][: 2 * self._room()].numpy().view(np.uint16), 0
        info = torch.empty(n_rows, dtype=torch.int64)
        for ids, found in self._blocks(log_step, context):
            words, length = self._coded(found)
            if done + len(words) > len(room) or int(length.max()) >> target.length_bits:
                return False
            room[done : done + len(words)] = words
            done += len(words)
            info[ids] = self.tier[ids] | found.norm << TIER_BITS | torch.from_numpy(length) << (TIER_BITS + NORM_BITS)
        packed = packing.pack(info, TIER_BITS + NORM_BITS + target.length_bits)
        target.stream[: len(packed)] = packed
        target.step.fill_(2.0**log_step)
        return True

    def _blocks(self, log_step: float, context: Context) -> Iterator[tuple[Tensor, _Quantised]]:
        """All rows as ids and indices, block by block."""
        n_rows, d = self.compressed.shape
        size = max(1, BLOCK // d)
        for start in range(0, n_rows, size):
            ids = torch.arange(start, min(start + size, n_rows))
            coordinates = self._coordinates(self.matrix[start : start + size])
            context.progress(f"{int(ids[-1]) + 1}/{n_rows} rows")
            yield ids, self._quantised(coordinates, self.tier[ids], log_step)

    def _coordinates(self, rows: Tensor) -> Tensor:
        """Coordinates float32 (d, n) of rows (n, d)."""
        return ((rows.float() - self.mean.float()) @ self.inverse.T).T.contiguous()

    def _norms(self, samples: Tensor, spread: Tensor) -> Tensor:
        """Classes (n,) of the rows' norms: by root mean square, or higher where a table could not hold a sample.

        Args:
            samples: (d, n) coordinates in half steps of the quantiser.
            spread: (d, n) their classes but for the norm's.
        """
        expected = torch.exp2((spread - UNIT + MIDDLE) / OCTAVE)
        typical = (samples / 2 / expected).square().mean(0).sqrt().clamp_min(1e-9)
        needed = ((samples.abs() / 2 - 1) / (SPREADS * expected)).amax(0).clamp_min(1e-9)
        classes = torch.maximum((OCTAVE * typical.log2()).round(), (OCTAVE * needed.log2()).ceil()) + MIDDLE
        return classes.clamp(0, 2**NORM_BITS - 1).long()

    def _quantised(self, coordinates: Tensor, tier: Tensor, log_step: float) -> _Quantised:
        """Indices of least squared error plus price of bits."""
        samples = coordinates * torch.exp2(tier / 2 - log_step)
        spread = self.compressed.spread.long()[:, None] + (2 * tier + int(self.compressed.offset))
        norm = self._norms(samples, spread)
        table, low = split_class(spread + norm)
        active = coded_coordinates(table)
        samples, table, low = samples[:active], table[:active], low[:active]
        index, quantiser = cheapest_path(*self._candidates(samples, table, low))
        excess = (samples.abs() - level(index, quantiser).abs()) * (index != 0)
        return _Quantised(norm, index, quantiser, table, low, high_part(index, low), excess)

    def _candidates(self, samples: Tensor, table: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        """For each branch of the trellis the nearest index that its table holds, and its error plus price of bits."""
        indices = nearest_indices(samples)
        costs = torch.empty(indices.shape)
        place, low = (table * WIDTH + WIDTH // 2).int(), low.int()
        most = torch.tensor(WIDEST, dtype=torch.int32)[table] << low
        has_low = bool(low.any())
        for branch in range(4):
            index, quantiser = indices[:, branch], branch // 2
            size = index.abs()
            if bool((size > most).any()):
                # Beyond the table's end its largest index of the same parity stands.
                size = torch.where(size > most, most - ((most - size) & 1), size)
                torch.mul(index.sign(), size, out=index)
            high = high_part(index, low) if has_low else index
            entry = (place + high + quantiser * CLASSES * WIDTH).clamp_(0, len(self.costs) - 1)
            error = samples.abs() - (2 * size - quantiser * (size > 0))
            price = self.bit_price * self.costs.index_select(0, entry.flatten()).view_as(error)
            torch.addcmul(price, error, error, out=costs[:, branch])
        return indices, costs

    def _coded(self, found: _Quantised) -> tuple[np.ndarray, np.ndarray]:
        """Words of some rows, one row after another, and the number of words of each."""
        place = (found.quantiser.numpy(), found.table.numpy(), found.high.numpy() + WIDTH // 2)
        coded, coded_length = entropy_coding.encode(self.tables.frequency[place], self.tables.start[place])
        raw, raw_length = _raw_words(raw_part(found.index, found.low).numpy(), found.low.numpy())
        length = raw_length + coded_length
        row = np.arange(len(length))
        # Position of each word: the row's start, the raw words, then the coded ones.
        order = np.concatenate([np.repeat(2 * row, raw_length), np.repeat(2 * row + 1, coded_length)]).argsort(kind="stable")
        return np.concatenate([raw, coded])[order], length


def _packed_axes(covariance: Tensor, basis_bits: int) -> Tensor:
    """Principal axes (d, d), the widest first, as packed integers that fill the range in each column."""
    vectors, top = torch.linalg.eigh(covariance).eigenvectors, 2 ** (basis_bits - 1) - 1
    largest = torch.maximum(vectors.amax(0), -vectors.amin(0))
    codes = [(rows / largest * top).round_().add_(top + 1).int().flip(1) for rows in vectors.split(row_block(len(vectors)))]
    return packing.pack(torch.cat(codes), basis_bits)


def _counted(found: _Quantised) -> np.ndarray:
    """How often each coded part stands in each table: (2, CLASSES, WIDTH)."""
    place = (found.quantiser * CLASSES + found.table) * WIDTH + found.high + WIDTH // 2
    return place.flatten().bincount(minlength=2 * CLASSES * WIDTH).view(2, CLASSES, WIDTH).numpy()


def _summed_excess(found: _Quantised) -> np.ndarray:
    """Sum and number of excesses by quantiser, class, and whether the index is larger than 1: (2, 2, CLASSES, 2)."""
    chosen = found.index != 0
    place = ((found.quantiser * CLASSES + found.table) * 2 + (found.index.abs() > 1))[chosen]
    size = 4 * CLASSES
    sums = [place.bincount(weights, minlength=size) for weights in (found.excess[chosen].double(), None)]
    return torch.stack([s.double() for s in sums]).view(2, 2, CLASSES, 2).numpy()


def _raw_words(raw: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low bits (d, n), `low` of each, packed into words row by row, and the number of words of each row."""
    ends = low.cumsum(0)
    length = (ends[-1] + 15) // 16 if len(low) else np.zeros(low.shape[1], dtype=np.int64)
    width = int(length.max(initial=0))
    if not width:
        return np.zeros(0, dtype=np.uint16), length
    bit = ends - low
    # A value touches two words; as no two share a bit, sums are unions.
    value = raw << (bit & 15)
    place = (np.arange(low.shape[1]) * (width + 1) + (bit >> 4)).ravel()
    size = low.shape[1] * (width + 1)
    words = (
        np.bincount(place, (value & 0xFFFF).ravel(), size) + np.bincount(place + 1, (value >> 16).ravel(), size + 1)[:size]
    )
    return words.astype(np.uint16).reshape(-1, width + 1)[np.arange(width + 1) < length[:, None]], length
