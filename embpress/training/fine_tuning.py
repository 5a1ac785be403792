"""Fine-tuning of a checkpoint on a labelled task."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)

from ..errors import UserError
from ..files import atomic_directory, write_json
from ..models.checkpoints import read_metadata
from ..models.embedding import write_metadata
from ..models.loading import class_with_head
from ..models.positions import check_length
from ..models.pretrained import save_model
from ..models.tokenization import load_tokenizer
from ..study.search import RECORD
from ..study.task_training import Training
from ..tasks import LabelledTask
from ..tasks._bootstrap import score_of
from .batches import Batch, TrainingData
from .loop import TrainingContext, scratch_folder, train, write_history

Candidate = dict[str, Any]
"""Result of one candidate of a search for settings, as `try_candidate` writes it."""


def finetune(
    base: Path,
    task: LabelledTask[Any],
    context: TrainingContext,
    folder: Path,
    candidates: Sequence[Candidate] = (),
) -> None:
    """Fine-tune all weights of a checkpoint and a new head on a task.

    Several processes train together, see `loop.train`; the first one writes the results.

    Args:
        base: a checkpoint with metadata.
        task: its entry's `finetune` gives the settings.
        context: seed and device.
        folder: output folder: the fine-tuned checkpoint with its learning curve. Written
            atomically.
        candidates: results of the search that chose the settings, written beside the checkpoint.
    """
    model = load_with_new_head(base, task, context.seed)
    tokenizer = load_tokenizer(base)
    data = training_data(task, tokenizer)
    settings = fine_tuning_settings(task)
    history = train(model.train(), data, task_loss, settings, context, scratch_folder(folder))
    if history is None:
        return
    source = read_metadata(base)["source"]
    source |= {"finetuned_on": len(data.rows), "seed": context.seed}
    with atomic_directory(folder) as partial:
        save_model(model.eval(), partial)
        tokenizer.save_pretrained(partial)
        write_metadata(model, tokenizer.all_special_ids, partial, source)
        write_history(history, partial)
        if candidates:
            record = {"chosen": settings.options(), "candidates": list(candidates)}
            write_json(partial / RECORD, record)


def try_candidate(
    base: Path,
    task: LabelledTask[Any],
    context: TrainingContext,
    held_out: float,
    path: Path,
    progress: Callable[[str], None],
) -> None:
    """Fine-tune on a part of the training examples and write the score on the rest as JSON.

    Several processes train together, as in `finetune`.

    Args:
        base: a checkpoint with metadata.
        task: its entry's `finetune` gives the settings. Its test examples are not read.
        context: seed and device.
        held_out: share of the training examples on which the model is scored.
        path: output file: settings, score by the task's main metric, and numbers of examples. Its
            stem is the candidate's name.
        progress: called with a message for every batch that is scored.

    Raises:
        UserError: if there are too few training examples.
    """
    task = task.within_training(held_out)
    model = load_with_new_head(base, task, context.seed)
    tokenizer = load_tokenizer(base)
    data = training_data(task, tokenizer)
    settings = fine_tuning_settings(task)
    history = train(model.train(), data, task_loss, settings, context, scratch_folder(path))
    if history is None:
        return
    metric = task.entry.reported_metrics[0]
    outcomes = task.outcomes(model.eval(), tokenizer, progress)
    result = {
        "candidate": path.stem,
        "settings": settings.options(),
        "seed": context.seed,
        "metric": metric,
        "score": score_of(type(task), outcomes, metric),
        "trained_on": len(task.train.labels),
        "held_out": len(task.test.labels),
    }
    write_json(path, result)


def load_with_new_head(base: Path, task: LabelledTask[Any], seed: int) -> PreTrainedModel:
    """Load a checkpoint in float32 with a randomly initialized head for a task.

    Raises:
        UserError: if transformers has no such head, or the model has too few positions.
    """
    set_seed(seed)
    model = class_with_head(base, task.head).from_pretrained(
        base, **task.head_options(), dtype=torch.float32, local_files_only=True
    )
    check_length(model, task.entry.max_length, "max_length")
    return model


def task_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of the model's head, as the only term."""
    return {"task": model(**batch).loss}


def training_data(task: LabelledTask[Any], tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """Tokenized training examples of a task and their collator."""
    return TrainingData(task.training_rows(tokenizer), task.data_collator(tokenizer))


def fine_tuning_settings(task: LabelledTask[Any]) -> Training:
    """Settings of a task's fine-tuning.

    Raises:
        UserError: if the task's entry has none.
    """
    settings = task.entry.finetune
    if settings is None:
        raise UserError(f"the {task.entry.kind} task has no `finetune`: add the settings")
    return settings.training()
