"""Students: models that are trained after their matrices were compressed, and their folders.

A student's folder is an artefact's (its trained matrices, and RESULT), with all other weights of
the model in OTHER_WEIGHTS.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding, PreTrainedModel

from .. import storage
from ..data.token_counts import read_counts
from ..errors import UserError
from ..fidelity.record import RESULT, measured
from ..files import atomic_directory, write_json
from ..formats._base import CompressedMatrix
from ..models.checkpoints import embedding_matrix
from ..models.compressed_model import (
    MATRIX_LIST,
    CompressedModel,
    linear_weight,
    load_other_weights,
    read_matrix_list,
    write_matrix_list,
)
from ..models.embedding import (
    AUTO_CLASSES,
    OTHER_WEIGHTS,
    find_embedding,
    load_model,
    write_other_weights,
)
from ..models.tokenization import load_tokenizer, sample_token_blocks
from ..tasks import LabelledTask
from .distillation import Distillation
from .fine_tuning import collator, rows_of, task_loss, with_new_head
from .loop import Collate, Loss, Settings, scratch_of, train, write_history

MASKED_SHARE = 0.15
"""Of the tokens of running text, as in BERT's pre-training."""


class Student:
    """A model on the matrices of an artefact, to be trained and saved.

    Args:
        model: dense, of the artefact's layers.
        start: an artefact, or a student's folder.
        trained: whether the matrices' factors are trained with the other weights; else they are
            frozen.
    """

    def __init__(self, model: PreTrainedModel, start: Path, trained: bool) -> None:
        self.model = model
        self.start = start
        self.matrices: dict[str, CompressedMatrix] = CompressedModel(model).load_matrices(start)
        if trained:
            for matrix in self.matrices.values():
                matrix.unfreeze()

    def train(
        self,
        rows: list[dict[str, Any]],
        collate: Collate,
        loss: Loss,
        settings: Settings,
        seed: int,
        scratch: Path,
    ) -> None:
        """Train; a killed training goes on from what it left in `scratch`."""
        self.history = train(self.model, rows, collate, loss, settings, seed, scratch)
        self.model.eval()

    def write(self, root: nn.Module, source: Path, counts: Path, folder: Path) -> None:
        """Write a student's folder, whole or not at all.

        Args:
            root: the part of the model whose weights are kept beside the matrices.
            source: the checkpoint that was compressed.
            counts: token counts, for the embedding's weighted error.
            folder: where to.
        """
        with atomic_directory(folder) as whole:
            for part in read_matrix_list(self.start):
                matrix = self.matrices[part.folder]
                matrix.freeze()
                about = storage.read_json(self.start / part.folder / storage.HEADER)["about"]
                storage.save(matrix, whole / part.folder, about)
            if (self.start / MATRIX_LIST).is_file():
                write_matrix_list(read_matrix_list(self.start), whole)
            write_history(self.history, whole)
            write_json(whole / RESULT, self._result(source, counts))
            write_other_weights(root, whole)

    def _result(self, source: Path, counts: Path) -> dict[str, Any]:
        """Sizes, which training leaves as they were.

        And how far the matrices are now from the dense ones.
        """
        if not (self.start / MATRIX_LIST).is_file():
            return measured(embedding_matrix(source), self.matrices["."], read_counts(counts))
        result = json.loads((self.start / RESULT).read_text())
        dense = load_model(source, "encoder")
        for about, part in zip(result["modules"], read_matrix_list(self.start)):
            weights = [linear_weight(dense.get_submodule(place), place) for place in part.layers]
            matrix = torch.cat(weights or [find_embedding(dense)[1].weight]).detach()
            about["squared_error"] = float(
                (matrix - self.matrices[part.folder].dense()).double().square().sum()
            )
        return result


def finetune_student(
    base: Path, artefact: Path, counts: Path, task: LabelledTask, seed: int, folder: Path
) -> None:
    """Fine-tune a pre-trained model whose matrices are compressed already, with a new head.

    Args:
        base: the checkpoint that was compressed.
        artefact: its compressed matrices.
        counts: token counts, for the matrix's weighted error.
        task: gives training examples and the config entry.
        seed: seeds the head, dropout and the order of examples.
        folder: where the student goes.
    """
    if _passed_on(artefact, folder):
        return
    tokenizer = load_tokenizer(base)
    model = with_new_head(base, task, seed)
    student = Student(model.train(), artefact, _is_trained(task.config))
    rows = rows_of(task, tokenizer)
    student.train(
        rows,
        collator(task, tokenizer),
        task_loss,
        Settings(**task.config["finetune"]),
        seed,
        scratch_of(folder),
    )
    student.write(model, base, counts, folder)


def distil_on_task(
    teacher: Path,
    start: Path,
    source: Path,
    counts: Path,
    task: LabelledTask,
    seed: int,
    folder: Path,
) -> None:
    """KroneckerBERT's second stage: a student of the fine-tuned model, whose head it starts from.

    Args:
        teacher: the fine-tuned checkpoint.
        start: its compressed matrices, or a student of `distil_on_text`.
        source: the checkpoint that was compressed.
        counts: token counts, for the matrix's weighted error.
        task: gives training examples and the config entry.
        seed: seeds dropout and the order of examples.
        folder: where the student goes.
    """
    if _passed_on(start, folder):
        return
    tokenizer = load_tokenizer(teacher)
    model = load_model(teacher, task.head)
    student = Student(model, start, _is_trained(task.config))
    if (start / OTHER_WEIGHTS).is_file():
        load_other_weights(model.base_model, start)
    distil = task.config["distil"]
    loss = _distillation(model, load_model(teacher, task.head), distil["terms"])
    rows = rows_of(task, tokenizer)
    student.train(
        rows,
        collator(task, tokenizer),
        loss,
        Settings(**distil["stage2"]),
        seed,
        scratch_of(folder),
    )
    student.write(model, source, counts, folder)


def distil_on_text(
    teacher: Path,
    artefact: Path,
    counts: Path,
    texts: list[str],
    entry: dict[str, Any],
    seed: int,
    folder: Path,
) -> None:
    """KroneckerBERT's first stage: a student of the pre-trained model, on running text.

    With the term `task` the model also predicts masked tokens. The paper's prediction of the next
    sentence is left out: the corpora hold texts without marked sentences, and RoBERTa's authors
    found that it does not help.

    Args:
        teacher: the pre-trained checkpoint.
        artefact: its compressed matrices.
        counts: token counts, for the matrix's weighted error.
        texts: running text.
        entry: the task's config entry; its `distil.stage1` is used.
        seed: seeds masks, dropout and the order of blocks.
        folder: where the student goes, its encoder without the head.

    Raises:
        UserError: if masked tokens are to be predicted by a model without a head for it, or a block
            is longer than the model or the texts.
    """
    if _passed_on(artefact, folder):
        return
    stage = dict(entry["distil"]["stage1"])
    terms = stage.pop("terms")
    tokens = stage.pop("tokens")
    block = stage.pop("block")
    stage.pop("corpus")
    tokenizer = load_tokenizer(teacher)
    models = [
        _with_language_head(teacher) if "task" in terms else load_model(teacher, "encoder")
        for _ in range(2)
    ]
    collate = (
        DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_SHARE)
        if "task" in terms
        else DataCollatorWithPadding(tokenizer)
    )
    longest = getattr(models[0].config, "max_position_embeddings", block)
    if block > longest:
        raise UserError(
            f"distil.stage1.block is {block}, but {teacher} reads at most {longest} tokens: lower it"
        )
    student = Student(models[0], artefact, _is_trained(entry))
    loss = _distillation(models[0], models[1], terms)
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids)}
        for ids in _blocks(texts, tokenizer, block, tokens)
    ]
    student.train(rows, collate, loss, Settings(**stage), seed, scratch_of(folder))
    student.write(models[0].base_model, teacher, counts, folder)


def _passed_on(start: Path, folder: Path) -> bool:
    """Whether nothing could be compressed; the reason is then passed on."""
    result = json.loads((start / RESULT).read_text())
    if "infeasible" not in result:
        return False
    write_json(folder / RESULT, result)
    return True


def _is_trained(entry: dict[str, Any]) -> bool:
    """The switch for the factors of all methods alike."""
    return entry["factors"] == "trained"


def _distillation(
    student: PreTrainedModel, teacher: PreTrainedModel, terms: Collection[str]
) -> Loss:
    """The loss of some terms; without any of the teacher's, plain training, with dropout."""
    if set(terms) == {"task"}:
        student.train()
        return task_loss
    return Distillation(student, teacher, terms)


def _with_language_head(checkpoint: Path) -> PreTrainedModel:
    """A checkpoint with its own head for masked tokens."""
    loaded: Any = AUTO_CLASSES["masked_lm"].from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    model, info = loaded
    if info["missing_keys"]:
        raise UserError(
            f"{checkpoint} has no head that predicts masked tokens: leave `task` out of `distil.stage1.terms`"
        )
    return model.eval()


def _blocks(texts: list[str], tokenizer: Any, block: int, tokens: int) -> list[list[int]]:
    """Blocks of about so many tokens of running text."""
    return sample_token_blocks(texts, tokenizer, block, tokens, special=True).tolist()
