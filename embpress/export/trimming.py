"""Method `vocabulary_trimming`: the most frequent tokens stay, in the tokenizer as in the model.

Unlike vocabulary pruning, dropped tokens are never produced: texts are split into kept pieces. A
text whose pieces are all kept gets exactly the outputs of the dense model. This is what model
makers do in practice, such as https://github.com/asahi417/lm-vocab-trimmer (Ushio et al. 2023, "An
Efficient Multilingual Language Model Compression through Vocabulary Trimming").
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ..errors import UserError
from ..formats.dense import DenseRows
from ..methods import TRIMMING
from ..methods._base import budget_bits, infeasible
from ..models.embedding import find_embedding
from ..models.vocabulary import (
    ids_before_padding,
    ids_in_configs,
    kept_ids,
    most_frequent_ids,
    trim_model,
    trim_tokenizer,
)

TOKENIZER_FILES = {
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "chat_template.jinja"),
}
"""Files of tokenizers; further ones are named by a tokenizer's class."""


def tokenizer_files(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Names of files that belong to a tokenizer, which a trimmed one replaces."""
    return frozenset(TOKENIZER_FILES | set(tokenizer.vocab_files_names.values()))


@dataclass(frozen=True)
class Trimmed:
    """What trimming leaves of a model's vocabulary."""

    ids: list[int]
    """Ids of the kept tokens before trimming, ascending."""
    matrix: DenseRows
    """(N, d), in the dtype of the weights."""
    tokenizer: PreTrainedTokenizerFast
    counts: Tensor
    """(N,) counts of the kept tokens."""
    replaced_files: frozenset[str]
    """Names of files that belong to the dense model's tokenizer."""

    def kept_files(self, files: Iterable[Path]) -> list[Path]:
        """Files without those of the dense model's tokenizer."""
        return [path for path in files if path.name not in self.replaced_files]


def trim_vocabulary(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase | None,
    counts: Tensor | None,
    ratio: float,
) -> Trimmed:
    """Trim a model in place, and its tokenizer, to the largest vocabulary that reaches a ratio.

    Rows keep the dtype of the weights. An untied head and biases of a head are trimmed too.

    Args:
        model: the dense model.
        tokenizer: its tokenizer.
        counts: (V,) counts of its tokens.
        ratio: dense fp32 bits of the embedding / bits of the kept rows, at least.

    Raises:
        UserError: if there is no tokenizer or one that cannot be trimmed, or it has special tokens
            beyond the embedding.
        InfeasibleRatio: if the tokens that must be kept are more.
    """
    # transformers makes a tokenizer of special tokens alone for a folder without its files.
    added = set() if tokenizer is None else set(tokenizer.added_tokens_decoder)
    if tokenizer is None or counts is None or len(tokenizer) <= len(added):
        raise UserError(
            f"{TRIMMING} needs the model's tokenizer, which its folder lacks: add its files, or "
            "use another method"
        )
    weight = find_embedding(model)[1].weight.detach()
    shape = (weight.shape[0], weight.shape[1])
    row_bits = 8 * weight.element_size() * shape[1]
    n = min(budget_bits(shape, ratio) // row_bits, shape[0])
    needed = ids_in_configs(model) | ids_before_padding(model)
    keep = kept_ids(tokenizer, (), needed)
    if keep[-1] >= shape[0]:
        raise UserError(
            f"the tokenizer's token {tokenizer.convert_ids_to_tokens(keep[-1])!r} has id "
            f"{keep[-1]}, but the embedding has {shape[0]} rows: remove it from the tokenizer"
        )
    if len(keep) > n:
        raise infeasible(
            "vocabulary trimming", shape, 32 * shape[0] * shape[1] / (len(keep) * row_bits)
        )
    keep = most_frequent_ids(tokenizer, counts, keep, n)
    trimmed_tokenizer = trim_tokenizer(tokenizer, keep)
    trim_model(model, keep)
    rows = find_embedding(model)[1].weight.detach()
    return Trimmed(
        ids=keep,
        matrix=DenseRows((len(keep), shape[1]), rows, rows.dtype),
        tokenizer=trimmed_tokenizer,
        counts=counts[keep],
        replaced_files=tokenizer_files(tokenizer),
    )
