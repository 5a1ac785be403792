"""Fine-tune a checkpoint for a labelled task."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, set_seed

from ..errors import UserError
from ..files import whole_new_folder, write_json
from ..models.checkpoints import card
from ..models.embedding import auto_class, describe
from ..models.tokenization import load_tokenizer
from ..study.search import RECORD
from ..study.task_training import FineTuning
from ..tasks import LabelledTask
from ..tasks._bootstrap import score_of
from .loop import Batch, Settings, scratch_of, train, write_history


def finetune(
    base: Path,
    task: LabelledTask[Any],
    seed: int,
    folder: Path,
    candidates: Sequence[dict[str, Any]] = (),
) -> None:
    """Train all weights of the checkpoint `base` with a new head for a task, and save it to
    `folder`.

    Args:
        base: a described checkpoint.
        task: gives training examples, the head, and the entry's settings of training.
        seed: seeds the new head, dropout and the order of examples.
        folder: where the fine-tuned checkpoint goes, with the learning curve; written whole or not
            at all.
        candidates: among which the settings were chosen, as `try_candidate` wrote them; recorded
            beside the checkpoint.
    """
    model = with_new_head(base, task, seed)
    tokenizer = load_tokenizer(base)
    rows = task.training_rows(tokenizer)
    settings = Settings(**settings_of(task).options())
    history = train(
        model.train(),
        rows,
        task.data_collator(tokenizer),
        task_loss,
        settings,
        seed,
        scratch_of(folder),
    )
    source = card(base)["source"] | {"finetuned_on": len(rows), "seed": seed}
    with whole_new_folder(folder) as whole:
        model.eval().save_pretrained(whole)
        tokenizer.save_pretrained(whole)
        describe(model, tokenizer.all_special_ids, whole, source)
        write_history(history, whole)
        if candidates:
            write_json(
                whole / RECORD,
                {"chosen": settings_of(task).options(), "candidates": list(candidates)},
            )


def try_candidate(
    base: Path,
    task: LabelledTask[Any],
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
    settings = Settings(**settings_of(task).options())
    rows = task.training_rows(tokenizer)
    train(
        model.train(),
        rows,
        task.data_collator(tokenizer),
        task_loss,
        settings,
        seed,
        scratch_of(path),
    )
    name = task.entry.reported_metrics[0]
    score = score_of(type(task), task.outcomes(model.eval(), tokenizer, progress), name)
    found = {
        "candidate": path.stem,
        "settings": settings_of(task).options(),
        "seed": seed,
        "metric": name,
        "score": score,
    }
    write_json(
        path, found | {"trained_on": len(task.train.labels), "held_out": len(task.test.labels)}
    )


def settings_of(task: LabelledTask[Any]) -> FineTuning:
    """Settings of a task's fine-tuning.

    Raises:
        UserError: if its entry has none.
    """
    settings = task.entry.finetune
    if settings is None:
        raise UserError(f"the {task.entry.kind} task has no `finetune`: add the settings")
    return settings


def with_new_head(base: Path, task: LabelledTask[Any], seed: int) -> PreTrainedModel:
    """The model of a checkpoint with a random head for a task."""
    set_seed(seed)
    return auto_class(task.head).from_pretrained(
        base, **task.head_options(), dtype=torch.float32, local_files_only=True
    )


def task_loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The loss of the model's head."""
    return {"task": model(**batch).loss}
