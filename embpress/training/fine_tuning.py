"""Fine-tune a checkpoint for a labelled task."""

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

from ..files import atomic_directory, write_json
from ..models.checkpoints import read_metadata
from ..models.embedding import AUTO_CLASSES, write_metadata
from ..models.tokenization import load_tokenizer
from ..study.metric_names import metrics_of
from ..study.search import RECORD
from ..tasks import LabelledTask, Span
from ..tasks._bootstrap import score_of
from ..tasks._examples import Examples
from .loop import Batch, Collate, Settings, scratch_of, train, write_history


def finetune(
    base: Path,
    task: LabelledTask,
    seed: int,
    folder: Path,
    candidates: Sequence[dict[str, Any]] = (),
) -> None:
    """Train all weights of the checkpoint `base` with a new head for a task, and save it to
    `folder`.

    Args:
        base: a described checkpoint.
        task: gives training examples, the head, and the config entry's `max_length` and `finetune`.
        seed: seeds the new head, dropout and the order of examples.
        folder: where the fine-tuned checkpoint goes, with the learning curve; written whole or not
            at all.
        candidates: among which the settings were chosen, as `try_candidate` wrote them; recorded
            beside the checkpoint.
    """
    model = with_new_head(base, task, seed)
    tokenizer = load_tokenizer(base)
    rows = rows_of(task, tokenizer)
    settings = Settings(**task.config["finetune"])
    history = train(
        model.train(),
        rows,
        collator(task, tokenizer),
        task_loss,
        settings,
        seed,
        scratch_of(folder),
    )
    source = read_metadata(base)["source"] | {"finetuned_on": len(rows), "seed": seed}
    with atomic_directory(folder) as whole:
        model.eval().save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        write_metadata(model, tokenizer.all_special_ids, whole, source)
        write_history(history, whole)
        if candidates:
            write_json(
                whole / RECORD, {"chosen": task.config["finetune"], "candidates": list(candidates)}
            )


def try_candidate(
    base: Path,
    task: LabelledTask,
    seed: int,
    held_out: float,
    path: Path,
    progress: Callable[[str], None],
) -> None:
    """Train as `finetune` does on all but a share of the training examples, and write the score on
    that share as JSON.

    Args:
        base: a described checkpoint.
        task: as for `finetune`; its test examples are not read.
        seed: as for `finetune`.
        held_out: the share.
        path: where settings, score (of the task's main metric) and numbers of examples go; its stem
            is the candidate's name.
        progress: called with a line about every batch that is scored.

    Raises:
        UserError: if there are too few training examples.
    """
    task = task.within_training(held_out)
    model = with_new_head(base, task, seed)
    tokenizer = load_tokenizer(base)
    settings = Settings(**task.config["finetune"])
    rows = rows_of(task, tokenizer)
    train(
        model.train(), rows, collator(task, tokenizer), task_loss, settings, seed, scratch_of(path)
    )
    name = metrics_of(task.config)[0]
    score = score_of(type(task), task.outcomes(model.eval(), tokenizer, progress), name)
    found = {
        "candidate": path.stem,
        "settings": task.config["finetune"],
        "seed": seed,
        "metric": name,
        "score": score,
    }
    write_json(
        path, found | {"trained_on": len(task.train.labels), "held_out": len(task.test.labels)}
    )


def with_new_head(base: Path, task: LabelledTask, seed: int) -> PreTrainedModel:
    """The model of a checkpoint with a random head for a task."""
    set_seed(seed)
    return AUTO_CLASSES[task.head].from_pretrained(
        base, **task.head_options(), dtype=torch.float32, local_files_only=True
    )


def task_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of the model's head."""
    return {"task": model(**batch).loss}


def collator(task: LabelledTask, tokenizer: PreTrainedTokenizerBase) -> Collate:
    """How rows of a task become a batch."""
    return (
        DataCollatorForMultipleChoice if task.head == "multiple_choice" else DataCollatorWithPadding
    )(tokenizer)


def rows_of(task: LabelledTask, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    """The training examples of a task, tokenized."""
    if isinstance(task, Span):
        return task.training_rows(tokenizer)
    return training_rows(task.train, tokenizer, task.config["max_length"])


def training_rows(
    examples: Examples, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> list[dict[str, Any]]:
    """Tokenized examples with `labels`.

    Ids (T,) of a text or pair each, or a list of them, one a choice.
    """
    encoded = tokenizer(examples.texts, examples.seconds, truncation=True, max_length=max_length)
    n = examples.choices
    rows = []
    for i, label in enumerate(examples.labels):
        inputs = {k: v[i] if n == 1 else v[i * n : (i + 1) * n] for k, v in encoded.items()}
        rows.append({**inputs, "labels": label})
    return rows
