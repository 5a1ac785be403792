"""Our method ECTCQ: entropy-coded trellis-coded quantization with reverse water-filling.

Idea: rows of one covariance with weights w_i have the least weighted error sum_i w_i |x_i - x^_i|^2
if every component of every row has the same weighted error, or its whole variance where that is
less (reverse water-filling; Cover and Thomas, section 10.3.3, here with weights). Therefore rows
are quantized in the coordinates of the principal basis, with a step per row that falls with the
root of the row's weight and is the same for all coordinates, and coded with tables chosen by the
expected spread of each coordinate: bits then follow the water-filling without being allocated. The
quantizer is a 32-state trellis (`numerics.trellis`), about 1.2 dB better than rounding. Weights are
smoothed corpus counts by default, and powers of them below 1 at high ratios.

- The basis is a product of rounded reflections, so that it is orthogonal however roughly it is
  rounded. Each axis is rounded where finer steps would take more bits than they save in the rows
  (`_principal_basis`).
- A row that is similar to a more frequent one is predicted by a gain times that row, and only what
  is left is coded (`_row_references`). A row is decoded by itself and at most one other.
- The length of each row's code is stored, so that single rows can be decoded. It is
  entropy-coded, as tiers and norms are (`numerics.row_records`).
- Mixing rare rows from kept ones as T24 does is not combined with it: on MiniLM's table the 10
  weights and indices of a rare row take 450 bits at a relative error of 0.85, this code 380 bits at
  0.6.

Options switch off one ingredient each, for the ablation: `weighting: uniform` the counts; `basis:
none` the basis, so that columns are coded as they are and no basis is stored; `quantizer: scalar`
the trellis, so that each coordinate is rounded alone, still at the least error plus price of bits;
`references: none` the prediction of rows by others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..formats._base import row_block
from ..formats.entropy_coded import HEADER_WORDS, NORM_BITS, TIER_BITS, WORD, EntropyCoded
from ..numerics.index_tables import CLASSES, LOW_BITS, OCTAVE, UNIT, WIDTH
from ..numerics.linalg import gram
from ..numerics.matrices import Rows
from ..numerics.memory import malloc_trim
from ..numerics.row_coding import SHIFT_UNIT, QuantizedRows
from ..numerics.row_references import RowReferences, encode_references
from ._base import Context, Method, Options, Plan, Weighting, budget_bits, infeasible
from ._principal_basis import no_basis, principal_basis
from ._row_quantizer import MIDDLE, RowQuantizer
from ._row_references import Predictor, Source, find_references
from ._row_stream import RowStream, encode_row_records

VERSION = 3
"""Of the format."""
TEMPERED_ABOVE = 25
TEMPERED_POWER = 0.75
"""Power of the counts at ratios above TEMPERED_ABOVE, unless option `count_power` names one.

Few bits are left there for rows that a corpus lacks, although other text has them. Chosen on text
that no task is scored on (`bench.settings`).
"""
BLOCK = 1 << 18
"""Coordinates encoded at once: bounds memory to some hundred bytes per coordinate."""
SAMPLE = 1 << 19
"""Coordinates of the sampled rows on which step and tables are tuned."""
TRIALS = 10
"""Steps tried on the sample."""
SURVEYS = 2
"""Steps tried on all rows."""
MOST_TIERS = (2**TIER_BITS - 1, 24, 16, 8, 0)
"""Largest tiers tried, in this order.

At high rates the largest is not the best: the range of the index limits the step of the rows of
most weight, and the bits that remain are better spent on the other rows.
"""
FILLED = 0.9998
"""Share of the stream to aim for: codes are a little longer than the probabilities predict."""
RECORD_BITS = 18
"""Bits per row that the smallest plan reserves for its record."""
LEARNING_BITS = 1024
"""Bits that the smallest plan reserves for headers and first, unlearned decisions."""
BASIS_SHARE = 512
"""It reserves a bit for this many entries of the basis, which are then all rounded to 0."""


@dataclass(frozen=True)
class EntropyCodedTrellisOptions(Options):
    """Weights of the rows, and the ingredients that an ablation leaves out."""

    weighting: Weighting = "counts"
    basis: Literal["principal", "none"] = "principal"
    """Coordinates: of the principal basis, or the columns."""
    quantizer: Literal["trellis", "scalar"] = "trellis"
    """The trellis, or rounding."""
    references: Literal["similar", "none"] = "similar"
    """Rows predicted by similar ones where that saves bits, or each row alone."""


class EntropyCodedTrellis(Method):
    """The smallest step whose code fits the budget."""

    alias = "ectcq"
    label = "ECTCQ (ours)"
    kind = "ours"
    has_factors = False
    weighted = True
    supports_streaming = True
    Options = EntropyCodedTrellisOptions

    def _fixed_bits(self, shape: tuple[int, int]) -> int:
        """Bits of everything but the stream."""
        return EntropyCoded(shape, 0, stream_bytes=0, version=VERSION).stored_bits

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class."""
        fixed = self._fixed_bits(shape)
        stream = (budget_bits(shape, ratio) - fixed) // 8
        least = (RECORD_BITS * shape[0] + LEARNING_BITS + shape[1] ** 2 // BASIS_SHARE) // 8
        if stream < least:
            raise infeasible(self.label, shape, 32 * shape[0] * shape[1] / (fixed + 8 * least))
        # More than 32 bits per value would not reduce the error.
        stream = min(stream, 4 * shape[0] * shape[1] + least)
        return Plan(shape, ratio, bits=fixed + 8 * stream, sizes={"stream_bytes": stream})

    def fit(self, matrix: Rows, plan: Plan, context: Context) -> EntropyCoded:
        """See base class."""
        compressed = EntropyCoded(
            plan.shape,
            0,
            plan.sizes["stream_bytes"],
            scalar=self.options.quantizer == "scalar",
            version=VERSION,
        )
        power = TEMPERED_POWER if plan.ratio > TEMPERED_ABOVE else 1.0
        weights = self.row_weights(context, plan.shape[0], power)
        return _Encoder(matrix, weights, compressed, self.options).encode(context)


class _Encoder:
    """Encodes a matrix in the coordinates of its basis, with the step that fills the stream."""

    def __init__(
        self,
        matrix: Rows,
        weights: Tensor,
        compressed: EntropyCoded,
        options: EntropyCodedTrellisOptions,
    ) -> None:
        self.matrix = matrix
        self.compressed = compressed
        self.options = options
        n_rows, d = compressed.shape
        step = row_block(d)
        total = torch.zeros(d)
        for start in range(0, n_rows, step):
            total = total + matrix[start : start + step].double().sum(0)
        self.mean = total / n_rows
        compressed.mean.copy_(self.mean)
        # Twice the weight is half an octave of the step.
        tiers = (weights.double() / weights.min()).log2().round()
        self.tier = tiers.clamp(0, 2**TIER_BITS - 1).long()
        # Each (d, d) matrix in float64 is a large part of the memory if d is: they are freed as
        # soon as possible.
        covariance = gram(matrix).div_(n_rows).addr_(self.mean, self.mean, alpha=-1)
        malloc_trim()
        bits = max(1, 8 * compressed.stream_bytes - RECORD_BITS * n_rows)
        self.basis = (
            principal_basis(covariance, self.tier, bits)
            if options.basis == "principal"
            else no_basis(covariance)
        )
        del covariance
        malloc_trim()
        variance = self.basis.variance
        # A spread of nearly 0 is set to 2^-31 of the largest, so that its class fits uint8.
        spread = variance.sqrt().clamp_min(max(float(variance.max()) ** 0.5 * 2**-31, 1e-30))
        self.quarters = (OCTAVE * spread.log2()).round().long()
        compressed.spread.copy_(self.quarters - self.quarters.min())
        self.quantizer = RowQuantizer(compressed)
        self.weights = weights.double()
        self.references = RowReferences.none(n_rows)
        self.predictor = Predictor(self.references, d)
        self.parts = [self.basis.words, encode_references(self.references)]
        self.records_bits = 0

    def encode(self, context: Context) -> EntropyCoded:
        """Fill the compressed matrix and return it."""
        n_rows, d = self.compressed.shape
        order = torch.randperm(n_rows, generator=torch.Generator().manual_seed(context.seed))
        sample = order[: max(1, SAMPLE // d)].sort().values
        rows = torch.cat([self.matrix[i : i + 1] for i in sample.tolist()])
        for most in MOST_TIERS:
            self.tier.clamp_(max=most)
            smallest = self._smallest_step()
            log_step = self._tune_step(rows, self.tier[sample], smallest, context)
            # At the smallest step bits remain, which are better given to rows of less weight.
            if log_step > smallest:
                break
        if self.options.references == "similar":
            log_step = max(smallest, log_step - self._choose_references(log_step))
        previous_step = 0.0
        previous_bits = 0
        for survey in range(SURVEYS):
            bits, slope = self._survey(log_step, context)
            if survey and previous_step != log_step:
                # Coordinates that are mostly coded as 0 save less than a bit: the measured slope is
                # used, within bounds.
                measured = (previous_bits - bits) / (log_step - previous_step)
                slope *= min(max(measured / slope, 0.4), 1)
            previous_step = log_step
            previous_bits = bits
            log_step = max(smallest, log_step + (bits - FILLED * self._room()) / slope)
        margin = 2.0**-10
        while not self._write(log_step, context):
            log_step = log_step + margin
            margin = 2 * margin
            # Classes follow a large change of the step, down to those that take no bits.
            if margin > 1 / OCTAVE:
                self._set_offset(log_step)
        return self.compressed

    def _choose_references(self, log_step: float) -> float:
        """Choose references of rows; returns the bits a coded coordinate that they save."""
        d = self.compressed.shape[1]
        source = Source(
            lambda ids, chosen: self._coordinates(self.matrix[ids], chosen),
            self.basis.variance.float(),
            torch.exp2(log_step - self.tier / 2).float(),
            self.weights,
        )
        self.references, saved = find_references(source, max(1, BLOCK // d))
        self.parts = [self.basis.words, encode_references(self.references)]
        self.predictor = Predictor(self.references, d)
        return saved / len(self.tier) / d

    def _smallest_step(self) -> float:
        """log2 of the smallest step with which every index can be stored."""
        widest = int(self.quarters.max()) + 2 * int(self.tier.max()) + 2**NORM_BITS + UNIT
        return widest / OCTAVE - LOW_BITS - CLASSES / OCTAVE

    def _room(self) -> int:
        """Number of bits of rows that fit into the stream beside the rows' records."""
        words = self.compressed.stream_bytes // 2 - HEADER_WORDS - sum(map(len, self.parts))
        return max(0, words * WORD - self.records_bits)

    def _tune_step(self, rows: Tensor, tier: Tensor, log_step: float, context: Context) -> float:
        """log2 of the step at which a sample of rows fills its share of the stream.

        Tables are fitted on the way. The number of bits is a convex, falling function of the step:
        Newton's method from the smallest step never overshoots.
        """
        share = self._room() * len(rows) / self.compressed.shape[0]
        coordinates = self._coordinates(rows)
        for trial in range(TRIALS):
            self._set_offset(log_step)
            block = self.quantizer.quantize(coordinates, tier, log_step)
            code = self.quantizer.encode(block)
            self.quantizer.set_tables(self.quantizer.count(block)[0])
            log_step += max(0, code.bits - share) / max(1, code.coded)
            filled = code.bits / max(share, 1)
            records = encode_row_records(tier, [block.norm_class], code.lengths)
            self.records_bits = WORD * len(records) * self.compressed.shape[0] // len(rows)
            share = self._room() * len(rows) / self.compressed.shape[0]
            context.progress(f"step {trial + 1}/{TRIALS}: {filled:.3f} of the available bits")
        self._set_offset(log_step)
        return log_step

    def _set_offset(self, log_step: float) -> None:
        """Set the offset of spread classes for a step; small changes of the step keep it."""
        offset = UNIT - OCTAVE - MIDDLE + int(self.quarters.min()) - round(OCTAVE * log_step)
        self.compressed.offset.fill_(offset)

    def _survey(self, log_step: float, context: Context) -> tuple[int, float]:
        """Encode all rows at a step, and fit the tables and the shifts of levels to them.

        Returns:
            The number of bits of all rows, and by how many a step twice as large would be shorter.
        """
        counts = np.zeros((2, CLASSES, WIDTH))
        excess = np.zeros((2, 2, CLASSES, 2))
        total = coded = 0
        norms = []
        lengths = []
        for _, block in self._blocks(log_step, context):
            code = self.quantizer.encode(block)
            total += code.bits
            norms.append(block.norm_class)
            lengths.extend(code.lengths)
            coded += code.coded
            block_counts, block_excess = self.quantizer.count(block)
            counts += block_counts
            excess += block_excess
        self.quantizer.set_tables(counts)
        mean = excess[0] / excess[1].clip(1)
        self.compressed.shift.copy_(torch.from_numpy((mean * SHIFT_UNIT).round().clip(-127, 127)))
        self.records_bits = WORD * len(
            encode_row_records(self.tier[self.references.order], norms, lengths)
        )
        return total, float(max(coded, 1))

    def _write(self, log_step: float, context: Context) -> bool:
        """Write the stream at a step; returns False if it does not fit."""
        stream = RowStream(self.compressed.stream, self.parts)
        for _, block in self._blocks(log_step, context):
            if not stream.append(self.quantizer.encode(block), block.norm_class):
                return False
        if not stream.finish(self.tier[self.references.order]):
            return False
        self.compressed.step.fill_(2.0**log_step)
        return True

    def _blocks(self, log_step: float, context: Context) -> Iterator[tuple[Tensor, QuantizedRows]]:
        """Quantize all rows block by block: ids (n,) and quantized rows."""
        n_rows, d = self.compressed.shape
        size = max(1, BLOCK // d)
        done = 0
        for ids in [
            part for group in self.references.groups for part in group.split(size) if len(part)
        ]:
            done += len(ids)
            # A slice where it can be: a matrix on disk reads rows of ids one by one.
            first, last = int(ids[0]), int(ids[-1])
            is_slice = last - first == len(ids) - 1
            coordinates = self._coordinates(
                self.matrix[first : last + 1] if is_slice else self.matrix[ids]
            )
            self.predictor.subtract(coordinates, ids)
            block = self.quantizer.quantize(coordinates, self.tier[ids], log_step)
            kept = self.predictor.kept(ids)
            if len(kept):
                step = torch.exp2(log_step - self.tier[ids[kept]] / 2)
                self.predictor.keep(ids[kept], self.quantizer.decode(block, kept, step))
            context.progress(f"{done}/{n_rows} rows")
            yield ids, block

    def _coordinates(self, rows: Tensor, chosen: Tensor | slice = slice(None)) -> Tensor:
        """Coordinates of rows in the basis, or the chosen ones: (n, d) to float32 (n, d)."""
        centred = rows.float() - self.mean.float()
        if self.basis.columns is None:
            return centred[:, chosen]
        return centred @ self.basis.columns[:, chosen]
