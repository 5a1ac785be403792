"""KroneckerBERT (Tahaei et al., NAACL 2022): a Kronecker product, or a sum of them, E ~ sum_r A_r
(x) B_r.

Idea: of an embedding A is (V, d/n) and B (1, n) (section 3.3); of a linear layer's matrix A is
(V/m, d/n) and B (m, n). The paper starts from the nearest Kronecker product, which has a closed
form (Van Loan and Pitsianis 1993): E, rearranged to (V d / m n, m n), is approximated by rank 1.
Its best rank-R approximation gives the best sum of R products. Factors are balanced as in the
paper, A = sqrt(s) u and B = sqrt(s) v. An embedding has hardly any such structure: without the
paper's distillation the error is high, as the product keeps about 1/n of the energy.

Differs from the paper:
- no distillation, because it needs a task: every method has it as the task protocol
  `compress_then_distil`;
- n = 4 does not reach 4x, because B has four floats of its own: the smallest n that fits the budget
  is 6 there;
- `terms` above 1 sums several products, as the paper's 5.5x model does; `terms: 0` uses as many as
  fit, with factors A and B of about the same size.

Options: `n`, `m` (the paper's shapes are in the presets `kroneckerbert8` and `kroneckerbert21`);
`m: 0`, the default of linear layers, uses the m x n nearest to a square among those of the smallest
size that fits; `terms`; `start: random`, the control of the paper's claim that the nearest product
is the better start, draws A and B with products of the mean square of E's entries; `weighting`
finds the nearest product in a norm in which row i counts w_i.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import InfeasibleRatio, UserError
from ..formats.kronecker import Kronecker
from ..formats.kronecker_product import KroneckerProduct
from ..numerics.linalg import right_singular_vectors
from ._base import Context, Method, Options, Plan, budget_bits, infeasible, largest


@dataclass(frozen=True)
class KroneckerOptions(Options):
    """Shape and number of products."""

    n: int = 0
    """Columns of B; 0 uses the smallest that divides d and fits the budget."""
    m: int = 1
    """Rows of B; 0 uses what fits."""
    terms: int = 1
    """Number of products in the sum; 0 uses as many as fit."""
    start: Literal["nearest", "random"] = "nearest"
    """The nearest product, or random factors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.terms < 0:
            raise UserError(f"option terms is {self.terms}, but must be at least 0")
        if min(self.n, self.m) < 0:
            raise UserError(
                f"options n and m are {self.n} and {self.m}, but must be 0 or divisors of d and of "
                "the number of rows"
            )
        if self.weighting != "uniform" and (self.m != 1 or self.terms == 0):
            raise UserError(
                "Kronecker weights rows only with m: 1 and terms above 0: leave out option "
                "weighting"
            )
        if self.start == "random" and self.weighting != "uniform":
            raise UserError("Kronecker with start: random fits nothing: leave out option weighting")


class KroneckerFactorization(Method):
    """The smallest B whose shape divides the matrix's and that fits the budget."""

    label = "Kronecker (init only)"
    kind = "paper"
    citation = "tahaei2022kroneckerbert"
    weighted = True
    linear_defaults = {"m": 0}
    Options = KroneckerOptions

    def plan(self, shape: tuple[int, int], ratio: float) -> Plan:
        """See base class.

        Raises:
            UserError: if the options n and m do not divide the matrix's shape, or B has fewer
                entries than there are terms.
        """
        rows, d = shape
        options = self.options
        budget = budget_bits(shape, ratio)
        heights = _divisors(rows, options.m)
        widths = _divisors(d, options.n)
        if options.terms == 0 and heights and widths:
            return self._plan_terms(shape, ratio, _middle(heights, rows), _middle(widths, d))
        # A scalar B would leave the matrix itself in the precision of the factors.
        least = max(options.terms, 1 if options.n else 2)
        possible = sorted(
            ((m, n) for m in heights for n in widths if m * n >= least),
            key=lambda pair: (pair[0] * pair[1], abs(math.log(pair[0] / pair[1]))),
        )
        if not possible and widths == heights == [1]:
            raise InfeasibleRatio(f"Kronecker has no product on {rows} x {d}: use another method")
        if not possible and options.m == 1:
            raise UserError(
                f"option n is {options.n}, but must divide d = {d} and be at least terms = "
                f"{options.terms}"
            )
        if not possible:
            raise UserError(
                f"options m and n are {options.m} and {options.n}, but must divide {rows} x {d}, "
                f"and their product be at least terms = {options.terms}"
            )
        sizes = {pair: self._size(shape, *pair, options.terms) for pair in possible}
        for (m, n), size in sizes.items():
            if size <= budget:
                return Plan(shape, ratio, bits=size, sizes={"m": m, "n": n, "terms": options.terms})
        if options.m != 1:
            raise infeasible("Kronecker", shape, 32 * rows * d / min(sizes.values()))
        reached = ", ".join(f"{32 * rows * d / size:.3g}" for size in sizes.values())
        raise InfeasibleRatio(f"Kronecker reaches {reached} on {rows} x {d}: use a lower ratio")

    def _plan_terms(self, shape: tuple[int, int], ratio: float, m: int, n: int) -> Plan:
        """As many terms with an (m, n) B as fit."""
        most = min(m * n, math.prod(shape) // (m * n))
        budget = budget_bits(shape, ratio)
        terms = largest(lambda count: self._size(shape, m, n, count), budget, most)
        if not terms:
            raise infeasible("Kronecker", shape, 32 * math.prod(shape) / self._size(shape, m, n, 1))
        size = self._size(shape, m, n, terms)
        return Plan(shape, ratio, bits=size, sizes={"m": m, "n": n, "terms": terms})

    def _size(self, shape: tuple[int, int], m: int, n: int, terms: int) -> int:
        """Bits of this many products with an (m, n) B."""
        if m == 1:
            return self.bits_of(Kronecker.factors(shape, n, terms))
        return self.bits_of(KroneckerProduct.factors(shape, m, n, terms))

    def fit(self, matrix: Tensor, plan: Plan, context: Context) -> Kronecker | KroneckerProduct:
        """See base class."""
        m, n, terms = (plan.sizes[name] for name in ("m", "n", "terms"))
        if m > 1:
            return self._fit_product(matrix, plan, context)
        rows, d = plan.shape
        compressed = Kronecker(plan.shape, n, terms, self.options.factor_dtype)
        if self.options.start == "random":
            a, b = _draw_factors(matrix, (terms, rows, d // n), (terms, n), context.seed)
        else:
            # (V d/n, n): row i d/n + j is E[i, j n : (j + 1) n].
            rearranged = matrix.reshape(-1, n)
            uniform = self.options.weighting == "uniform"
            weights = None if uniform else self.row_weights(context, rows).repeat_interleave(d // n)
            basis = right_singular_vectors(rearranged, terms, weights)
            a = (rearranged @ basis).T.reshape(terms, rows, -1)
            b = basis.T
        compressed.store("a", a)
        compressed.store("b", b)
        return compressed

    def _fit_product(self, matrix: Tensor, plan: Plan, context: Context) -> KroneckerProduct:
        """Fit a matrix whose B has several rows."""
        rows, d = plan.shape
        m, n, terms = (plan.sizes[name] for name in ("m", "n", "terms"))
        a_shape = (terms, rows // m, d // n)
        b_shape = (terms, m, n)
        compressed = KroneckerProduct(plan.shape, m, n, terms, self.options.factor_dtype)
        if self.options.start == "random":
            a, b = _draw_factors(matrix, a_shape, b_shape, context.seed)
        else:
            # (V d / m n, m n): row i d/n + j is W[i m : (i + 1) m, j n : (j + 1) n].
            rearranged = matrix.view(rows // m, m, d // n, n).transpose(1, 2).reshape(-1, m * n)
            flipped = len(rearranged) < m * n
            tall = rearranged.T.contiguous() if flipped else rearranged
            # Singular vectors of the smaller side, whose Gram matrix fits into memory.
            basis = right_singular_vectors(tall, terms)
            left = tall @ basis
            scale = left.norm(dim=0).sqrt().clamp_min(1e-30)
            left = left / scale
            right = basis * scale
            a, b = (right, left) if flipped else (left, right)
            a = a.T.reshape(a_shape)
            b = b.T.reshape(b_shape)
        compressed.store("a", a)
        compressed.store("b", b)
        return compressed


def _divisors(size: int, requested: int) -> list[int]:
    """Divisors of a size, or the requested one alone, if it is a divisor; 0 requests all."""
    return [n for n in range(1, size + 1) if size % n == 0 and requested in (0, n)]


def _middle(divisors: list[int], size: int) -> int:
    """The divisor nearest to the square root, by ratio."""
    return min(divisors, key=lambda n: abs(math.log(n * n / size)))


def _draw_factors(
    matrix: Tensor, a_shape: tuple[int, ...], b_shape: tuple[int, ...], seed: int
) -> tuple[Tensor, Tensor]:
    """Normal factors whose sum of products has the mean square of the matrix's entries."""
    generator = torch.Generator().manual_seed(seed)
    scale = matrix.square().mean().sqrt() / a_shape[0] ** 0.5
    a = torch.randn(a_shape, generator=generator) * scale
    return a, torch.randn(b_shape, generator=generator)
