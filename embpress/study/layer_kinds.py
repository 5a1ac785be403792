"""Kinds of weight matrices of a transformer's layers, and the modules that hold them.

Works on the names of modules within the base model, without the prefix that a model with a head
adds. Imports no torch.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from ..errors import UserError

EMBEDDING = "embedding"
"""The input embedding, with every output head that is tied to it."""

_BERT = r"encoder\.layer\.(\d+)\."
_DISTILBERT = r"transformer\.layer\.(\d+)\."
_GPT2 = r"h\.(\d+)\."
_LLAMA = r"layers\.(\d+)\."
PATTERNS = {
    "query": (
        _BERT + r"attention\.self\.query(?:_proj)?",
        _DISTILBERT + r"attention\.q_lin",
        _LLAMA + r"self_attn\.q_proj",
    ),
    "key": (
        _BERT + r"attention\.self\.key(?:_proj)?",
        _DISTILBERT + r"attention\.k_lin",
        _LLAMA + r"self_attn\.k_proj",
    ),
    "value": (
        _BERT + r"attention\.self\.value(?:_proj)?",
        _DISTILBERT + r"attention\.v_lin",
        _LLAMA + r"self_attn\.v_proj",
    ),
    "query_key_value": (_BERT + r"attention\.self\.in_proj", _GPT2 + r"attn\.c_attn"),
    "attention_output": (
        _BERT + r"attention\.output\.dense",
        _DISTILBERT + r"attention\.out_lin",
        _GPT2 + r"attn\.c_proj",
        _LLAMA + r"self_attn\.o_proj",
    ),
    "intermediate": (
        _BERT + r"intermediate\.dense",
        _DISTILBERT + r"ffn\.lin1",
        _GPT2 + r"mlp\.c_fc",
        _LLAMA + r"mlp\.up_proj",
    ),
    "intermediate_gate": (_LLAMA + r"mlp\.gate_proj",),
    "output": (
        _BERT + r"output\.dense",
        _DISTILBERT + r"ffn\.lin2",
        _GPT2 + r"mlp\.c_proj",
        _LLAMA + r"mlp\.down_proj",
    ),
}
"""Names of modules by kind, as regular expressions whose first group is the layer's number.

For BERT, RoBERTa, XLM-R, ELECTRA, MiniLM and DeBERTa; DistilBERT; GPT-2; Llama and similar models.
GPT-2 and the first DeBERTa hold query, key and value in one matrix. A gated feed-forward layer has
two input matrices: `intermediate` is the up projection, `intermediate_gate` the gate projection."""
KINDS = (EMBEDDING, *PATTERNS)
ALL = "all"
"""Stands in a method's entry for all matrices of the model, of any kind."""
OTHER = "other_matrices"
"""Kind of matrices that only ALL compresses: position and type tables, poolers, heads."""
KEPT = "not compressed"
"""In tables, the kind of all other weights."""


class LayerMatrix(NamedTuple):
    """The weight matrix of a linear layer of a model."""

    kind: str
    layer: int
    name: str
    """Name of the module within the base model."""


def find_layer_matrices(
    names: Iterable[str], kinds: Iterable[str], own: dict[str, str] | None = None
) -> list[LayerMatrix]:
    """Find the linear layers of some kinds, in the order of the kinds, then of the layers.

    Args:
        names: names of the base model's modules.
        kinds: among KINDS; the embedding is no linear layer and is skipped.
        own: patterns that replace PATTERNS, by kind; their first group is the layer's number.

    Raises:
        UserError: if the model has no layer of a kind.
    """
    names = list(names)
    matrices = []
    for kind in kinds:
        if kind == EMBEDDING:
            continue
        patterns = (own[kind],) if own and kind in own else PATTERNS[kind]
        matches = [
            match
            for name in names
            for pattern in patterns
            if (match := re.fullmatch(pattern, name))
        ]
        if not matches:
            known = ", ".join(find_kinds(names, own)) or "none of any kind"
            raise UserError(
                f"the model has no layer of kind {kind}: it has {known}; leave the kind out, or "
                "give `modules: {KIND: PATTERN}` in the model's entry"
            )
        matrices += sorted(LayerMatrix(kind, int(match[1]), match[0]) for match in matches)
    return matrices


def check_pattern(pattern: str, where: str) -> None:
    """Check a user's pattern for `find_layer_matrices`.

    Raises:
        UserError: if it is no regular expression, or has no group for the layer's number.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"{where}: {pattern!r} is not a regular expression ({error})") from error
    if not groups:
        raise UserError(
            f"{where}: {pattern!r} must match the layer's number in its first group, such as (\\d+)"
        )


def find_kinds(names: list[str], own: dict[str, str] | None) -> list[str]:
    """Kinds of which the model has a layer."""
    known = {
        kind: (own[kind],) if own and kind in own else patterns
        for kind, patterns in PATTERNS.items()
    }
    return [
        k
        for k, patterns in known.items()
        if any(re.fullmatch(p, name) for p in patterns for name in names)
    ]
