"""What `compress` chooses where the user does not: the method, and token counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..data.corpus_tokens import with_special_tokens
from ..data.counts import counts_from_file
from ..data.found_counts import FoundCounts, count_files, find_counts
from ..errors import InfeasibleRatio, UserError
from ..methods import method_class

BEST_METHODS = ("entropy_coded_trellis", "product_quantization", "svd")
"""Methods in the order of their weighted error in docs/findings/codes.md.

At every ratio from 4 to 100 on both tables there, entropy-coded trellis quantization has the least.
The others are for matrices too small for its tables and basis.
"""


def choose_method(shape: tuple[int, int], ratio: float) -> str:
    """The best method that reaches a ratio on a matrix of a shape.

    Raises:
        InfeasibleRatio: of the first method, if none does.
    """
    first: InfeasibleRatio | None = None
    for name in BEST_METHODS:
        try:
            method_class(name)().plan(shape, ratio)
        except InfeasibleRatio as error:
            first = first or error
        else:
            return name
    assert first is not None
    raise first


@dataclass(frozen=True)
class CountSource:
    """What a user gives to count tokens by, and the model whose tokens are counted."""

    counts: str | Path | Tensor | None
    """(V,) counts or a file of them."""
    texts: Sequence[str | Path]
    """Text files."""
    tokenizer: PreTrainedTokenizerBase | None
    n_rows: int
    special_ids: tuple[int, ...]
    input_length: int | None
    """Number of tokens that the model reads at once; None for no limit."""

    def resolve(self, progress: Callable[[str], None]) -> FoundCounts:
        """Counts of the model's tokens, by what the user gives, or else what is found.

        Raises:
            UserError: if counts are of another model, or both counts and texts are given.
        """
        if self.counts is not None and self.texts:
            raise UserError("give either --counts or --text, not both")
        if self.texts:
            files = [Path(path) for path in self.texts]
            found = count_files(files, self.tokenizer, self.n_rows, progress)
        elif isinstance(self.counts, (str, Path)):
            counts = counts_from_file(Path(self.counts), self.n_rows, self.tokenizer)
            found = FoundCounts(counts, str(self.counts))
        elif self.counts is not None:
            if self.counts.shape != (self.n_rows,):
                raise UserError(
                    f"the counts have shape {tuple(self.counts.shape)}, but the model has "
                    f"{self.n_rows} rows: count with the model's tokenizer"
                )
            found = FoundCounts(self.counts, "the given tensor")
        else:
            return find_counts(self.tokenizer, self.n_rows, self.special_ids)
        if self.tokenizer is None:
            return found
        counts = with_special_tokens(found.counts, self.tokenizer, self.input_length)
        return FoundCounts(counts, found.source)
