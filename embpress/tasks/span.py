"""Finding the answer to a question in a text.

By a fine-tuned model that scores first and last tokens: F1, exact match.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UserError
from ._base import Inputs, Metric, Outcomes
from ._encoding import padded_batches
from ._examples import Answers, Examples, Label, LabelledRows, as_list, read_labels, read_split
from ._labelled import LabelledTask
from ._span_metrics import answer_scores
from ._windows import Windows, token_span, windows_of, with_most_context

BEST = 20
"""Likeliest first and last tokens that are paired, in each window; as run_squad.py."""
LONGEST_ANSWER = 30
"""Tokens; as run_squad.py."""


class Span(LabelledTask):
    """Which characters of `data.text`'s first column, the context, answer its second, the question.

    A label is SQuAD's object as JSON, or the answer's text where `data.answer_start` is the column
    of its first character.
    """

    metrics = (Metric("f1", "F1"), Metric("exact_match", "exact match"))
    head = "span"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        self._cut: tuple[Any, Windows] | None = None

    def read_label(self, value: str) -> Label:
        """See base class."""
        if "answer_start" in self.config["data"]:
            return Answers((value,), ())
        try:
            answers = json.loads(value)
            found = Answers(
                tuple(map(str, answers["text"])), tuple(map(int, answers["answer_start"]))
            )
        except (ValueError, TypeError, KeyError):
            raise ValueError('not JSON like {"text": [...], "answer_start": [...]}') from None
        if not found.texts or len(found.texts) != len(found.starts):
            raise ValueError(
                "not one answer or more with a start each: leave questions without an answer out"
            )
        return found

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        return {}

    def _whole(self, split: str) -> LabelledRows:
        """See base class.

        Raises:
            UserError: if a row has no question, or an answer does not stand where its start says.
        """
        data = self.config["data"]
        context, question = as_list(data["text"])
        table = read_split(data, split, self.inputs)
        labels = read_labels(table, data, self.read_label)
        if "answer_start" in data:
            starts = read_labels(table, data | {"label": data["answer_start"]}, _character)
            labels = [Answers(answers.texts, (start,)) for answers, start in zip(labels, starts)]  # type: ignore[union-attr, arg-type]
        for row, answers in zip(table.rows, labels):
            if not row.values[question]:
                raise UserError(f"{table.place(row)}: no text in column {question!r}")
            assert isinstance(answers, Answers)
            for text, start in zip(*answers):
                found = str(row.values[context])[max(start, 0) : start + len(text)]
                if found != text or not text:
                    raise UserError(
                        f"{table.place(row)}: the answer {text[:60]!r} is not at character {start} of its context, where "
                        f"{found[:60]!r} stands: starts count characters from 0, not bytes"
                    )
        return LabelledRows(table.name, table.rows, labels)

    def training_rows(self, tokenizer: Any) -> list[dict[str, Any]]:
        """A row a window: the model's inputs, (T,) each, and the first and last token of the first
        right answer.

        Where a window holds not all of it, both point to the window's first token.
        """
        train = self.train
        windows = windows_of(train, tokenizer, self.config["max_length"], self.config["stride"])
        rows = []
        for i, (example, offsets) in enumerate(zip(windows.example, windows.offsets)):
            answers = train.labels[example]
            first, last = token_span(
                offsets, answers.starts[0], answers.starts[0] + len(answers.texts[0])
            )
            inputs = {name: values[i] for name, values in windows.encoded.items()}
            rows.append({**inputs, "start_positions": first, "end_positions": last})
        return rows

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. Exact match and F1 of each question, (n,) each."""
        answers = self._answers(model, tokenizer, progress)
        scores = [
            answer_scores(answer, gold.texts, self.config["unit"])
            for answer, gold in zip(answers, self.test.labels)
        ]
        exact, f1 = np.array(scores, dtype=np.float64).T
        return {"f1": f1, "exact_match": exact}

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"example": len(outcomes["f1"])}

    @classmethod
    def scores(cls, outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class: means over questions."""
        return {
            metric.name: outcomes[metric.name][draws["example"]].mean(1) for metric in cls.metrics
        }

    def _test_windows(self, tokenizer: Any) -> Windows:
        """Windows of the test, cut once for all matrices that a model is evaluated with."""
        if self._cut is None or self._cut[0] is not tokenizer:
            windows = windows_of(
                self.test, tokenizer, self.config["max_length"], self.config["stride"]
            )
            self._cut = tokenizer, windows
        return self._cut[1]

    def _answers(
        self, model: PreTrainedModel, tokenizer: Any, progress: Callable[[str], None]
    ) -> list[str]:
        """The likeliest answer to each test question: its text in the context."""
        test: Examples = self.test
        windows = self._test_windows(tokenizer)
        logits: dict[int, np.ndarray] = {}
        with torch.inference_mode():
            for group, batch in padded_batches(windows.encoded, tokenizer, progress):
                output = model(**batch)
                both = torch.stack([output.start_logits, output.end_logits], 1).numpy()  # (B, 2, T)
                logits |= {i: found[:, : len(windows.offsets[i])] for i, found in zip(group, both)}
        of_example: list[list[int]] = [[] for _ in test.texts]
        for i, example in enumerate(windows.example):
            of_example[example].append(i)
        answers = []
        for text, places in zip(test.texts, of_example):
            offsets = [windows.offsets[i] for i in places]
            may_begin = with_most_context(offsets, self.config["stride"])
            spans = [best_span(logits[i], *about) for i, *about in zip(places, offsets, may_begin)]
            _, start, end = max(spans, key=lambda span: span[0])
            answers.append(text[start:end])
        return answers


def best_span(
    logits: np.ndarray, offsets: np.ndarray, may_begin: np.ndarray
) -> tuple[float, int, int]:
    """The likeliest answer within a window: its score, its first character, and the character after
    its last.

    Args:
        logits: (2, T) of each token to be the answer's first, and its last.
        offsets: (T, 2) of a window.
        may_begin: (T,) tokens whose answers another window does not see better.

    Returns:
        The best sum of logits over spans of BEST first and last tokens, of up to LONGEST_ANSWER
        tokens of the context; minus infinity, and no characters, if there is none.
    """
    firsts, lasts = (np.argsort(-side, kind="stable")[:BEST] for side in logits)
    first, last = np.meshgrid(firsts, lasts, indexing="ij")
    allowed = (
        may_begin[first]
        & (offsets[last, 0] >= 0)
        & (last >= first)
        & (last < first + LONGEST_ANSWER)
    )
    scores = np.where(allowed, logits[0][first] + logits[1][last], -np.inf)
    best = np.unravel_index(scores.argmax(), scores.shape)
    if scores[best] == -np.inf:
        return -np.inf, 0, 0
    return float(scores[best]), int(offsets[first[best], 0]), int(offsets[last[best], 1])


def _character(value: str) -> int:
    """Where an answer starts, as a file writes it."""
    try:
        return int(value)
    except ValueError:
        raise ValueError("not a number of characters") from None
