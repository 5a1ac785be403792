"""Fine-tuning of a checkpoint on a labelled task."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    DataCollatorForMultipleChoice,
    DataCollatorWithPadding,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..files import whole_new_folder, write_json
from ..models.checkpoints import card
from ..models.embedding import AUTO_CLASSES, describe
from ..models.tokenization import load_tokenizer
from ..study.metric_names import metrics_of
from ..study.search import RECORD
from ..tasks import LabelledTask, Span
from ..tasks._bootstrap import score_of
from ..tasks._examples import Examples
from .loop import Batch, Row, TrainingData, scratch_folder, train, write_history
from .settings import TrainingSettings

Candidate = dict[str, Any]
"""Result of one candidate of a search for settings, as `try_candidate` writes it."""


def finetune(
    base: Path, task: LabelledTask, seed: int, folder: Path, candidates: Sequence[Candidate] = ()
) -> None:
    """Fine-tune all weights of a checkpoint and a new head on a task.

    Args:
        base: a checkpoint with metadata.
        task: its entry's `finetune` gives the settings.
        seed: seeds the new head, dropout and the order of examples.
        folder: output folder: the fine-tuned checkpoint with its learning curve. Written
            atomically.
        candidates: results of the search that chose the settings, written beside the checkpoint.
    """
    model = load_with_new_head(base, task, seed)
    tokenizer = load_tokenizer(base)
    data = training_data(task, tokenizer)
    settings = TrainingSettings.from_config(task.config["finetune"])
    history = train(model.train(), data, task_loss, settings, seed, scratch_folder(folder))
    source = card(base)["source"] | {"finetuned_on": len(data.rows), "seed": seed}
    with whole_new_folder(folder) as partial:
        model.eval().save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        describe(model, tokenizer.all_special_ids, partial, source)
        write_history(history, partial)
        if candidates:
            record = {"chosen": task.config["finetune"], "candidates": list(candidates)}
            write_json(partial / RECORD, record)


def try_candidate(
    base: Path,
    task: LabelledTask,
    seed: int,
    held_out: float,
    path: Path,
    progress: Callable[[str], None],
) -> None:
    """Fine-tune on a part of the training examples and write the score on the rest as JSON.

    Args:
        base: a checkpoint with metadata.
        task: its entry's `finetune` gives the settings. Its test examples are not read.
        seed: seeds the new head, dropout and the order of examples.
        held_out: share of the training examples on which the model is scored.
        path: output file: settings, score by the task's main metric, and numbers of examples. Its
            stem is the candidate's name.
        progress: called with a message for every batch that is scored.

    Raises:
        UserError: if there are too few training examples.
    """
    task = task.within_training(held_out)
    model = load_with_new_head(base, task, seed)
    tokenizer = load_tokenizer(base)
    data = training_data(task, tokenizer)
    settings = TrainingSettings.from_config(task.config["finetune"])
    train(model.train(), data, task_loss, settings, seed, scratch_folder(path))
    metric = metrics_of(task.config)[0]
    outcomes = task.outcomes(model.eval(), tokenizer, progress)
    result = {
        "candidate": path.stem,
        "settings": task.config["finetune"],
        "seed": seed,
        "metric": metric,
        "score": score_of(type(task), outcomes, metric),
        "trained_on": len(task.train.labels),
        "held_out": len(task.test.labels),
    }
    write_json(path, result)


def load_with_new_head(base: Path, task: LabelledTask, seed: int) -> PreTrainedModel:
    """Load a checkpoint in float32 with a randomly initialized head for a task."""
    set_seed(seed)
    return AUTO_CLASSES[task.head].from_pretrained(
        base, **task.head_options(), dtype=torch.float32, local_files_only=True
    )


def task_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of the model's head, as the only term."""
    return {"task": model(**batch).loss}


def training_data(task: LabelledTask, tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """Tokenized training examples of a task and their collator."""
    is_multiple_choice = task.head == "multiple_choice"
    collator = DataCollatorForMultipleChoice if is_multiple_choice else DataCollatorWithPadding
    if isinstance(task, Span):
        rows = task.training_rows(tokenizer)
    else:
        rows = training_rows(task.train, tokenizer, task.config["max_length"])
    return TrainingData(rows, collator(tokenizer))


def training_rows(
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[Row]:
    """Rows with `input_ids`, `attention_mask` etc. and `labels`.

    The inputs of an example are lists of length T for its text or pair of texts; for multiple
    choice, one such list per choice.
    """
    encoded = tokenizer(examples.texts, examples.seconds, truncation=True, max_length=max_length)
    n = examples.choices
    rows: list[Row] = []
    for i, label in enumerate(examples.labels):
        inputs = {k: v[i] if n == 1 else v[i * n : (i + 1) * n] for k, v in encoded.items()}
        rows.append(inputs | {"labels": label})
    return rows
