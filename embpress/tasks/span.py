"""Finding the answer to a question in a text.

By a fine-tuned model that scores first and last tokens: F1, exact match.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..data.rows import Row, Table
from ..errors import UserError
from ..study.task_data import LabelledData
from ..study.task_entry import LabelledTaskEntry, Metric, TrainedProtocol
from ._base import Outcomes, Progress, TaskInputs
from ._examples import Answers, Label, LabelledRows, read_labels, read_split
from ._labelled import Batch, EncodedRow, LabelledTask

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput

    from ._windows import Windows

BEST = 20
"""Likeliest first and last tokens that are paired, in each window; as run_squad.py."""
LONGEST_ANSWER = 30
"""Tokens; as run_squad.py."""


class SpanData(LabelledData):
    """Where the contexts, questions and answers are."""

    format: Literal["squad", "csv", "tsv", "jsonl"] | None = Field(  # type: ignore[assignment]
        default=None,
        description="Format of the files. squad: SQuAD v1.1's JSON, with columns id, title, "
        "context, question, answers.",
    )
    text: Annotated[
        tuple[str, ...],
        Field(
            strict=False,
            min_length=2,
            max_length=2,
            description="Columns of the context, and of the question.",
        ),
    ]
    label: str = Field(
        description="Column of the right answers, as SQuAD's object in JSON; or of the answer's "
        "text, with `answer_start`."
    )
    answer_start: str | None = Field(
        default=None,
        description="Column of the character of the context, from 0, at which the answer begins.",
    )

    def read_columns(self) -> list[str]:
        """See base class."""
        more = [self.answer_start] if self.answer_start is not None else []
        return list(dict.fromkeys([*super().read_columns(), *more]))


class SpanEntry(LabelledTaskEntry):
    """Which characters of a context answer a question."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", "F1"),
        Metric("exact_match", "exact match"),
    )

    kind: Literal["span"] = Field(description="Kind of task.")
    protocol: TrainedProtocol
    data: SpanData = Field(description="Where the contexts, questions and answers are.")
    unit: Literal["words", "characters"] = Field(
        description="What F1 counts: words as SQuAD compares them, characters as JSQuAD does."
    )
    max_length: int = Field(
        ge=16,
        description="Tokens of question and context; a longer context is read in windows.",
    )
    stride: int = Field(
        ge=0,
        description="Tokens of a context that a window shares with the one before, as `doc_stride` "
        "of transformers' run_qa.py. In BERT's run_squad.py, `doc_stride` is the step between the "
        "starts of windows.",
    )


class Span(LabelledTask[SpanEntry]):
    """Predicts the span of the context whose first and last tokens score highest together."""

    entry_model = SpanEntry
    metrics = SpanEntry.known_metrics
    head = "span"

    def __init__(self, entry: SpanEntry, inputs: TaskInputs) -> None:
        super().__init__(entry, inputs)
        self._cut: tuple[object, Windows] | None = None

    def read_label(self, value: str) -> Label:
        """See base class."""
        if self.entry.data.answer_start is not None:
            return Answers((value,), ())
        try:
            parsed = json.loads(value)
            texts = tuple(map(str, parsed["text"]))
            starts = tuple(map(int, parsed["answer_start"]))
        except (ValueError, TypeError, KeyError):
            raise ValueError('not JSON like {"text": [...], "answer_start": [...]}') from None
        if not texts or len(texts) != len(starts):
            raise ValueError(
                "not one answer or more with a start each: leave questions without an answer out"
            )
        return Answers(texts, starts)

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        return {}

    def read_rows(self, split: str) -> LabelledRows:
        """See base class.

        Raises:
            UserError: if a row has no question, or an answer does not stand where its start says.
        """
        data = self.entry.data
        table = read_split(data, split, self.inputs, self.read_table)
        labels = read_labels(table, data.label, self.read_label)
        if data.answer_start is not None:
            starts = read_labels(table, data.answer_start, _character)
            labels = [Answers(a.texts, (start,)) for a, start in zip(labels, starts)]  # type: ignore[union-attr, arg-type]
        for row, answers in zip(table.rows, labels):
            assert isinstance(answers, Answers)
            self._check_row(table, row, answers)
        return LabelledRows(table.name, table.rows, labels)

    def _check_row(self, table: Table, row: Row, answers: Answers) -> None:
        """Check that a row has a question, and its answers where their starts say."""
        context, question = self.entry.data.text
        if not row.values[question]:
            raise UserError(f"{table.place(row)}: no text in column {question!r}")
        for text, start in zip(*answers):
            there = str(row.values[context])[max(start, 0) : start + len(text)]
            if there != text or not text:
                raise UserError(
                    f"{table.place(row)}: the answer {text[:60]!r} is not at character {start} of "
                    f"its context, where {there[:60]!r} stands: starts count characters from 0, "
                    "not bytes"
                )

    def training_rows(self, tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
        """A row a window: the model's inputs, (T,) each, and the first and last token of the first
        right answer.

        Where a window does not hold all of it, both are the window's first token.
        """
        from ._windows import token_span, windows_of

        train = self.train
        windows = windows_of(train, tokenizer, self.entry.max_length, self.entry.stride)
        rows = []
        for i, (example, offsets) in enumerate(zip(windows.example, windows.offsets)):
            answers = train.labels[example]
            start = answers.starts[0]
            first, last = token_span(offsets, start, start + len(answers.texts[0]))
            inputs = {name: values[i] for name, values in windows.encoded.items()}
            rows.append({**inputs, "start_positions": first, "end_positions": last})
        return rows

    def logits_loss(self, student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
        """See base class: of the first and of the last token, over the tokens of each text."""
        from ._losses import kl_divergence_over_tokens

        mask = batch["attention_mask"]
        starts = kl_divergence_over_tokens(student["start_logits"], teacher["start_logits"], mask)
        ends = kl_divergence_over_tokens(student["end_logits"], teacher["end_logits"], mask)
        return starts + ends

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. Exact match and F1 of each question, (n,) each."""
        import numpy as np

        from ._span_metrics import answer_scores

        predicted = self._answers(model, tokenizer, progress)
        scores = [
            answer_scores(answer, gold.texts, self.entry.unit)
            for answer, gold in zip(predicted, self.test.labels)
        ]
        exact, f1 = np.array(scores, dtype=np.float64).T
        return {"f1": f1, "exact_match": exact}

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {"example": len(outcomes["f1"])}

    @classmethod
    def scores(
        cls, outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class: means over questions."""
        indices = bootstrap_indices["example"]
        return {metric.name: outcomes[metric.name][indices].mean(1) for metric in cls.metrics}

    def _test_windows(self, tokenizer: PreTrainedTokenizerBase) -> Windows:
        """Windows of the test, cut once for all matrices that a model is evaluated with."""
        from ._windows import windows_of

        if self._cut is None or self._cut[0] is not tokenizer:
            windows = windows_of(self.test, tokenizer, self.entry.max_length, self.entry.stride)
            self._cut = tokenizer, windows
        return self._cut[1]

    def _answers(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> list[str]:
        """The likeliest answer to each test question: its text in the context."""
        from ._windows import max_context_mask

        windows = self._test_windows(tokenizer)
        logits = _window_logits(model, tokenizer, windows, progress)
        of_example: list[list[int]] = [[] for _ in self.test.texts]
        for i, example in enumerate(windows.example):
            of_example[example].append(i)
        answers = []
        for text, positions in zip(self.test.texts, of_example):
            offsets = [windows.offsets[i] for i in positions]
            may_begin = max_context_mask(offsets, self.entry.stride)
            spans = [
                best_span(logits[i], *window) for i, *window in zip(positions, offsets, may_begin)
            ]
            _, start, end = max(spans, key=lambda span: span[0])
            answers.append(text[start:end])
        return answers


def _window_logits(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    windows: Windows,
    progress: Progress,
) -> dict[int, np.ndarray]:
    """Logits (2, T) of each window's tokens to be the answer's first, and its last."""
    import torch

    from ._encoding import padded_batches

    logits: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for group, batch in padded_batches(windows.encoded, tokenizer, model.device, progress):
            output = model(**batch)
            both = torch.stack([output.start_logits, output.end_logits], 1)  # (B, 2, T)
            for i, values in zip(group, both.float().cpu().numpy()):
                logits[i] = values[:, : len(windows.offsets[i])]
    return logits


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
    import numpy as np

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
