"""Overlapping windows of the tokens of contexts that are longer than a model's input."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from ..errors import UserError
from ._alignment import offsets_of
from ._examples import Examples

EXAMPLES_AT_ONCE = 1000
"""Examples that are tokenized together: offsets are Python objects, a hundred bytes a token."""


@dataclass
class Windows:
    """Windows of all examples, in the order of the examples."""

    encoded: dict[str, list[list[int]]] = field(default_factory=dict)
    """Inputs of the model by name, a list of tokens a window: question, then context."""
    example: list[int] = field(default_factory=list)
    """Position of each window's example."""
    offsets: list[np.ndarray] = field(default_factory=list)
    """(T, 2) first character and character after the last of each token of the context; -1 for all
    other tokens."""


def windows_of(examples: Examples, tokenizer: Any, max_length: int, stride: int) -> Windows:
    """Windows of at most `max_length` tokens, each sharing `stride` tokens of its context with the
    one before, as transformers' run_qa.py cuts them.

    BERT's run_squad.py gives the same name to the step between the starts of windows.

    Args:
        examples: contexts as texts, questions as seconds.
        tokenizer: in Rust, or in Python; the tokens of the latter are aligned with the text.
        max_length: tokens of a window: question, its part of the context, and special tokens.
        stride: tokens that windows overlap by.

    Raises:
        UserError: if a question is so long that windows would not move on.
    """
    assert examples.seconds is not None
    windows = Windows()
    for first in range(0, len(examples.texts), EXAMPLES_AT_ONCE):
        here = slice(first, first + EXAMPLES_AT_ONCE)
        questions = examples.seconds[here]
        _check_room(questions, tokenizer, max_length, stride)
        cut = _cut_by_rust if isinstance(tokenizer, PreTrainedTokenizerFast) else _cut_in_python
        part = cut(questions, examples.texts[here], tokenizer, max_length, stride)
        windows.example += [first + i for i in part.example]
        windows.offsets += part.offsets
        for name, values in part.encoded.items():
            windows.encoded.setdefault(name, []).extend(values)
    return windows


def _cut_by_rust(
    questions: list[str],
    contexts: list[str],
    tokenizer: PreTrainedTokenizerFast,
    max_length: int,
    stride: int,
) -> Windows:
    """Windows of a tokenizer in Rust, which cuts them itself."""
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    windows = Windows(example=encoded.pop("overflow_to_sample_mapping"))
    for i, pairs in enumerate(encoded.pop("offset_mapping")):
        of_context = np.array([part == 1 for part in encoded.sequence_ids(i)])
        windows.offsets.append(np.where(of_context[:, None], np.array(pairs, dtype=np.int32), -1))
    windows.encoded = dict(encoded)
    return windows


def _cut_in_python(
    questions: list[str], contexts: list[str], tokenizer: Any, max_length: int, stride: int
) -> Windows:
    """The same windows of a tokenizer in Python, which returns no offsets."""
    windows = Windows()
    special = tokenizer.num_special_tokens_to_add(pair=True)
    for i, (question, context) in enumerate(zip(questions, contexts)):
        asked = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(question))
        tokens = tokenizer.tokenize(context)
        ids = tokenizer.convert_tokens_to_ids(tokens)
        offsets = offsets_of(tokens, context, tokenizer.unk_token)
        room = max_length - special - len(asked)
        for start in range(0, max(len(ids) - stride, 1), room - stride):
            part = slice(start, start + room)
            inputs = tokenizer.prepare_for_model(asked, ids[part])
            of_window = np.full((len(inputs["input_ids"]), 2), -1, dtype=np.int32)
            place = tokenizer.build_inputs_with_special_tokens(asked, [-1]).index(-1)
            of_window[place : place + len(ids[part])] = offsets[part]
            windows.example.append(i)
            windows.offsets.append(of_window)
            for name, values in inputs.items():
                windows.encoded.setdefault(name, []).append(values)
    return windows


def _check_room(questions: list[str], tokenizer: Any, max_length: int, stride: int) -> None:
    """Check that beside each question a window has room for more tokens than it shares."""
    special = tokenizer.num_special_tokens_to_add(pair=True)
    for question, ids in zip(
        questions, tokenizer(questions, add_special_tokens=False)["input_ids"]
    ):
        room = max_length - special - len(ids)
        if room <= stride:
            raise UserError(
                f"the question {question[:60]!r} has {len(ids)} tokens, which leaves "
                f"{max(room, 0)} of `max_length` {max_length} for its context, no more than the "
                f"`stride` {stride} that windows share: raise `max_length` or lower `stride`"
            )


def token_span(offsets: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """First and last token that cover the characters from `start` to before `end`; 0, 0 if the
    window does not hold all of them.
    """
    (inside,) = (offsets[:, 0] >= 0).nonzero()
    if not len(inside) or offsets[inside[0], 0] > start or offsets[inside[-1], 1] < end:
        return 0, 0
    first = inside[np.searchsorted(offsets[inside, 0], start, side="right") - 1]
    last = inside[np.searchsorted(offsets[inside, 1], end, side="left")]
    return int(first), int(max(first, last))


def max_context_mask(offsets: list[np.ndarray], stride: int) -> list[np.ndarray]:
    """Mask (T,) of the tokens of each window of an example that no other window sees with more
    context on their scarcer side.

    As `_check_is_max_context` of BERT's run_squad.py: an answer is taken from the window that sees
    the most around its first token.
    """
    parts = [(window[:, 0] >= 0).nonzero()[0] for window in offsets]
    best = np.full(sum(map(len, parts)), -1.0)
    owner = np.zeros(len(best), dtype=int)
    place = 0
    places = []
    for i, part in enumerate(parts):
        here = np.arange(place, place + len(part))
        scarcer = np.minimum(here - place, place + len(part) - 1 - here) + 0.01 * len(part)
        better = scarcer > best[here]
        best[here[better]] = scarcer[better]
        owner[here[better]] = i
        places.append(here)
        place += len(part) - stride
    masks = [np.zeros(len(window), dtype=bool) for window in offsets]
    for i, (part, here) in enumerate(zip(parts, places)):
        masks[i][part] = owner[here] == i
    return masks
