"""Kinds of weight matrices of a transformer's layers, and where a model has them: names, not
tensors. Imports no torch.

Names are those of modules within the base model, without the prefix that a model with a head puts
before them.
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
"""Names by kind, with the layer's number as first group: of BERT, RoBERTa, XLM-R, ELECTRA, MiniLM
and DeBERTa; DistilBERT; GPT-2; Llama and its kin. GPT-2 and the first DeBERTa hold query, key and
value in one matrix. A gated feed-forward layer has two matrices in: `intermediate` is the one whose
product is gated (up), `intermediate_gate` the gate's."""
KINDS = (EMBEDDING, *PATTERNS)
KEPT = "not compressed"
"""In tables, the kind of all other weights."""


class Place(NamedTuple):
    """A linear layer of a model."""

    kind: str
    layer: int
    name: str
    """Of the module, within the base model."""


def places(
    names: Iterable[str], kinds: Iterable[str], own: dict[str, str] | None = None
) -> list[Place]:
    """Linear layers of some kinds, kind by kind in the order asked for, layer by layer.

    Args:
        names: names of the base model's modules.
        kinds: among KINDS; the embedding has no place here and is passed over.
        own: patterns that replace PATTERNS, by kind; their first group is the layer's number.

    Raises:
        UserError: if the model has no layer of a kind.
    """
    names = list(names)
    found = []
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
            raise UserError(
                f"the model has no layer of kind {kind}: it has {', '.join(_kinds_of(names, own)) or 'none of any kind'}; "
                "leave the kind out, or give `modules: {KIND: PATTERN}` in the model's entry"
            )
        found += sorted(Place(kind, int(match[1]), match[0]) for match in matches)
    return found


def check_pattern(pattern: str, where: str) -> None:
    """Hold a user's pattern against what `places` needs.

    Raises:
        UserError: if it is no regular expression, or has no group for the layer's number.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"{where}: {pattern!r} is no regular expression ({error})") from error
    if not groups:
        raise UserError(
            f"{where}: {pattern!r} must hold the layer's number as first group, such as (\\d+)"
        )


def _kinds_of(names: list[str], own: dict[str, str] | None) -> list[str]:
    """Kinds of which there is a layer."""
    known = {
        kind: (own[kind],) if own and kind in own else patterns
        for kind, patterns in PATTERNS.items()
    }
    return [
        k
        for k, patterns in known.items()
        if any(re.fullmatch(p, name) for p in patterns for name in names)
    ]
