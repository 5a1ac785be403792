"""Tagging the words of a text, named entities say, by a fine-tuned model: F1 of entities.

Entities are those of CoNLL-2003's conlleval, whose rules seqeval (Nakayama 2018) follows in its
default mode: an entity has the right type, first and last word, or it is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..data.rows import Row, Table
from ..errors import UserError
from ..study.task_data import LabelledData, Labels, OneColumn
from ..study.task_entry import LabelledTaskEntry, Metric, TrainedProtocol
from ..study.validation_errors import refuse
from ._base import Outcomes, Progress
from ._examples import Examples, LabelledRows, read_split
from ._labelled import Batch, EncodedRow, LabelledTask
from ._labels import label_position, label_positions

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from transformers.modeling_outputs import ModelOutput

IGNORED = -100
"""Label of tokens that no loss counts, as torch's cross-entropy has it."""
OUTSIDE = "O"

Entity = tuple[str, int, int]
"""Type, first word, and word after the last."""


class TokenClassificationData(LabelledData):
    """Where the tagged texts are."""

    format: Literal["conll", "jsonl"] | None = Field(  # type: ignore[assignment]
        default=None,
        description="Format of the files. conll: a word a line, `columns` between white space, and "
        "an empty line after each text. jsonl: lists of words and tags.",
    )
    text: OneColumn = Field(description="Column of the words.")
    label: str = Field(description="Column of the words' tags.")
    labels: Labels = Field(
        description="Tags in IOB2, or how files write each: O, B-TYPE for the first word of an "
        "entity, I-TYPE for the others."
    )


class TokenClassificationEntry(LabelledTaskEntry):
    """Which tag each word of a text has."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", "entity F1"),
        Metric("precision", "entity precision"),
        Metric("recall", "entity recall"),
    )

    kind: Literal["token_classification"] = Field(description="Kind of task.")
    protocol: TrainedProtocol
    data: TokenClassificationData = Field(description="Where the tagged texts are.")

    @property
    def label_names(self) -> tuple[str, ...]:
        """See base class."""
        return tuple(self.data.labels)

    @model_validator(mode="after")
    def _check_tags(self) -> Self:
        """Tags are in IOB2, and the columns of CoNLL files have names."""
        data = self.data
        for tag in data.labels:
            if tag != OUTSIDE and not (tag[:2] in ("B-", "I-") and tag[2:]):
                raise refuse(f"{tag!r} is not O, B-TYPE or I-TYPE", "data", "labels")
        if OUTSIDE not in data.labels:
            raise refuse("'O' is missing, the tag of words outside of entities", "data", "labels")
        if data.format == "conll" and data.columns is None:
            raise refuse("'columns' is missing: the names of the columns of a conll file", "data")
        return self


class TokenClassification(LabelledTask[TokenClassificationEntry]):
    """Predicts the tag of a word by the logits of its first token."""

    entry_model = TokenClassificationEntry
    metrics = TokenClassificationEntry.known_metrics
    head = "AutoModelForTokenClassification"

    @cached_property
    def _positions(self) -> dict[str, int]:
        """Position of each tag by how files may write it."""
        return label_positions(self.entry.data.labels)

    def read_label(self, value: str) -> int:
        """See base class. The position of one word's tag."""
        return label_position(value, self._positions, list(self.entry.data.labels))

    def head_options(self) -> dict[str, Any]:
        """See base class."""
        tags = list(self.entry.data.labels)
        return {"num_labels": len(tags), "id2label": dict(enumerate(tags))}

    def read_table(self, name: str, content: bytes) -> Table:
        """See base class. Words and tags are lists as JSON."""
        if self.entry.data.format != "conll":
            return super().read_table(name, content)
        columns = self.entry.data.columns or ()
        return Table(name, list(_conll_rows(name, content, columns)))

    def read_rows(self, split: str) -> LabelledRows:
        """See base class. The label of a row is the list of its tags' positions.

        Raises:
            UserError: if a row has not one declared tag for each word; with file and line.
        """
        data = self.entry.data
        table = read_split(data, split, self.inputs, self.read_table)
        labels: list[Any] = []
        for row in table.rows:
            words = _read_list(table, row, data.text[0])
            tags = _read_list(table, row, data.label)
            if len(words) != len(tags):
                raise UserError(
                    f"{table.place(row)}: {len(words)} words, but {len(tags)} tags: give each one"
                )
            try:
                labels.append([self.read_label(tag) for tag in tags])
            except ValueError as error:
                place = f"{table.place(row)}, column {data.label!r}"
                raise UserError(f"{place}: a tag is {error}") from error
        return LabelledRows(table.name, table.rows, labels)

    def training_rows(self, tokenizer: PreTrainedTokenizerBase) -> list[EncodedRow]:
        """See base class. `labels` (T,): a word's tag at its first token, IGNORED elsewhere."""
        rows = []
        for text, tags in zip(self.train.texts, self.train.labels):
            inputs, first_tokens = encode_words(json.loads(text), tokenizer, self.entry.max_length)
            labels = [IGNORED] * len(inputs["input_ids"])
            for word, token in first_tokens.items():
                labels[token] = tags[word]
            rows.append({**inputs, "labels": labels})
        return rows

    def data_collator(
        self, tokenizer: PreTrainedTokenizerBase
    ) -> Callable[[list[EncodedRow]], Batch]:
        """See base class."""
        from transformers import DataCollatorForTokenClassification

        return DataCollatorForTokenClassification(tokenizer, label_pad_token_id=IGNORED)

    def logits_loss(self, student: ModelOutput, teacher: ModelOutput, batch: Batch) -> Tensor:
        """See base class: logits (B, T, C), of which those of words' first tokens count."""
        from ._losses import kl_divergence

        return kl_divergence(student["logits"], teacher["logits"], batch["labels"] != IGNORED)

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. Numbers of right, predicted and true entities of each text, (n,) each.

        Words beyond `max_length` tokens, and words without a token, are predicted to be O.
        """
        import numpy as np

        predicted = self._predict(model, tokenizer, progress)
        tags = list(self.entry.data.labels)
        counts = np.zeros((3, len(predicted)), dtype=np.int32)
        for i, (ours, gold) in enumerate(zip(predicted, self.test.labels)):
            predicted_entities = entities([tags[position] for position in ours])
            gold_entities = entities([tags[position] for position in gold])
            correct = predicted_entities & gold_entities
            counts[:, i] = [len(correct), len(predicted_entities), len(gold_entities)]
        return dict(zip(("correct", "predicted", "gold"), counts))

    def _predict(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> list[list[int]]:
        """Positions of the tags of each test text's words."""
        import torch

        from ._encoding import padded_batches

        texts = [json.loads(text) for text in self.test.texts]
        outside = list(self.entry.data.labels).index(OUTSIDE)
        predicted = [[outside] * len(words) for words in texts]
        encoded: dict[str, list[Any]] = {}
        first_tokens = []
        for words in texts:
            inputs, tokens = encode_words(words, tokenizer, self.entry.max_length)
            first_tokens.append(tokens)
            for name, values in inputs.items():
                encoded.setdefault(name, []).append(values)
        with torch.inference_mode():
            for group, batch in padded_batches(encoded, tokenizer, model.device, progress):
                best = model(**batch).logits.argmax(-1)  # (B, T)
                for i, row in zip(group, best.tolist()):
                    for word, token in first_tokens[i].items():
                        predicted[i][word] = row[token]
        return predicted

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class: texts, as the words of one are not independent."""
        return {"text": len(outcomes["gold"])}

    @classmethod
    def scores(
        cls, outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class: over all entities of the texts; 0 where there are none."""
        indices = bootstrap_indices["text"]
        correct = outcomes["correct"][indices].sum(1)
        predicted = outcomes["predicted"][indices].sum(1)
        gold = outcomes["gold"][indices].sum(1)
        return {
            "f1": _ratio(2 * correct, predicted + gold),
            "precision": _ratio(correct, predicted),
            "recall": _ratio(correct, gold),
        }

    def _examples(self, rows: LabelledRows) -> Examples:
        """See base class: a text is the JSON list of its words."""
        (text,) = self.entry.data.text
        return Examples([str(row.values[text]) for row in rows.rows], list(rows.labels))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Quotient of counts, 0 where the denominator is 0."""
    import numpy as np

    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def entities(tags: list[str]) -> set[Entity]:
    """Entities of a text by its tags in IOB2.

    As conlleval: an entity begins at B, and at an I whose type is not that of the tag before.
    """
    spans: set[Entity] = set()
    start = 0
    current = ""
    for i, tag in enumerate([*tags, OUTSIDE]):
        kind = tag[2:]
        if tag.startswith("I-") and kind == current:
            continue
        if current:
            spans.add((current, start, i))
        start = i
        current = kind
    return spans


def encode_words(
    words: list[str], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[dict[str, list[int]], dict[int, int]]:
    """A text of given words as the model's inputs, (T,) each, cut to `max_length` tokens.

    Returns:
        The inputs, and the position of the first token of each word that has one.
    """
    from transformers import PreTrainedTokenizerFast

    if isinstance(tokenizer, PreTrainedTokenizerFast):
        encoded = tokenizer(words, is_split_into_words=True, truncation=True, max_length=max_length)
        word_of_token = encoded.word_ids()
        inputs = dict(encoded)
    else:  # a tokenizer in Python does not say which word a token is of
        pieces = [tokenizer.tokenize(word) for word in words]
        ids: Any = tokenizer.convert_tokens_to_ids([token for word in pieces for token in word])
        ids = ids[: max_length - tokenizer.num_special_tokens_to_add()]
        inputs = dict(tokenizer.prepare_for_model(ids))
        before = tokenizer.build_inputs_with_special_tokens([-1]).index(-1)
        of_piece = [i for i, word in enumerate(pieces) for _ in word][: len(ids)]
        word_of_token = [None] * before + of_piece
    first_tokens: dict[int, int] = {}
    for token, word in enumerate(word_of_token):
        if word is not None:
            first_tokens.setdefault(word, token)
    return inputs, first_tokens


def _read_list(table: Table, row: Row, column: str) -> list[str]:
    """A column's list of strings, or of numbers as strings."""
    try:
        values = json.loads(row.values[column] or "")
    except ValueError:
        values = None
    if not isinstance(values, list) or not values:
        raise UserError(f"{table.place(row)}: column {column!r} is not a list of words or tags")
    return [str(value) for value in values]


def _conll_rows(name: str, content: bytes, columns: tuple[str, ...]) -> Iterator[Row]:
    """Texts of a file with a word a line; each row is on its first word's line."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not UTF-8 ({error.reason}): convert the file") from error
    words: list[list[str]] = []
    for i, line in enumerate([*lines, ""], start=1):
        fields = line.split()
        if fields and len(fields) != len(columns):
            raise UserError(
                f"{name}, line {i}: {len(fields)} columns, but `data.columns` names {len(columns)}"
            )
        if fields and fields[0] != "-DOCSTART-":
            words.append(fields)
        elif words:
            values = {c: json.dumps(list(v)) for c, v in zip(columns, zip(*words))}
            yield Row(i - len(words), dict(values))
            words = []
