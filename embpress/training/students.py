"""Students: models whose matrices are compressed first and which are trained afterwards.

A student is fine-tuned on a task, or trained to imitate its teacher, the same model uncompressed.
Its folder is an artefact's folder: the trained compressed matrices and RESULT, and in addition
OTHER_WEIGHTS with all other weights of the model, and the learning curve.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import DataCollatorForLanguageModeling, DataCollatorWithPadding, PreTrainedModel

from .. import storage
from ..data.token_counts import read_counts
from ..errors import UserError
from ..fidelity.record import RESULT, Fitted, Infeasible, read_result, result_record
from ..files import atomic_directory, read_json, write_json
from ..formats._base import CompressedMatrix
from ..models.checkpoints import embedding_matrix
from ..models.coded_weights import uncoded_weights
from ..models.compressed_model import (
    MATRIX_LIST,
    CompressedModel,
    linear_weight,
    load_other_weights,
    read_matrix_list,
    write_matrix_list,
)
from ..models.embedding import OTHER_WEIGHTS, find_embedding, other_weights, write_other_weights
from ..models.loading import AUTO_CLASSES, load_model
from ..models.tokenization import load_tokenizer, sample_token_blocks
from ..study.task_training import TextStage, Training
from ..tasks import LabelledTask
from .batches import Collate, Loss, TrainingData
from .distillation import Distillation, LogitsLoss
from .fine_tuning import fine_tuning_settings, load_with_new_head, task_loss, training_data
from .launcher import is_main_process
from .loop import TrainingContext, scratch_folder, train, write_history

MASKED_SHARE = 0.15
"""Share of the tokens of running text that are masked, as in BERT's pre-training."""


@dataclass(frozen=True)
class StudentInputs:
    """Files from which a student is made."""

    source: Path
    """Uncompressed checkpoint whose matrices were compressed."""
    start: Path
    """Artefact of the source, or folder of a student of it that was trained on text."""
    counts: Path
    """Token counts, for the weighted reconstruction error."""


class Student:
    """A model with the compressed matrices of an artefact, to be trained and saved.

    Args:
        model: uncompressed, with the layers that the artefact compresses.
        inputs: the student's files.
        trains_factors: whether the tensors of the compressed matrices are trained too, or frozen.
    """

    def __init__(self, model: PreTrainedModel, inputs: StudentInputs, trains_factors: bool) -> None:
        self.model = model
        self.inputs = inputs
        compressed = CompressedModel(model)
        self.matrices: dict[str, CompressedMatrix] = compressed.load_matrices(inputs.start)
        self._tables = compressed.tables
        if (inputs.start / OTHER_WEIGHTS).is_file():
            load_other_weights(model, inputs.start)
        if trains_factors:
            for matrix in self.matrices.values():
                matrix.unfreeze()

    def train_and_write(
        self,
        data: TrainingData,
        loss: Loss,
        settings: Training,
        context: TrainingContext,
        root: nn.Module,
        folder: Path,
    ) -> None:
        """Train, and write the student's folder atomically.

        An interrupted run resumes from its last checkpoint, and several processes train together,
        see `loop.train`; the first one writes the folder.

        Args:
            data: training rows.
            loss: terms of the loss of a batch.
            settings: epochs, batch size, learning rate etc.
            context: seed and device.
            root: part of the model whose uncompressed weights are written.
            folder: output folder.
        """
        history = train(self.model, data, loss, settings, context, scratch_folder(folder))
        if history is None:
            return
        self.model.eval()
        start = self.inputs.start
        with atomic_directory(folder) as partial:
            for part in read_matrix_list(start):
                matrix = self.matrices[part.folder]
                matrix.freeze()
                about = read_json(start / part.folder / storage.HEADER)["about"]
                storage.save(matrix, partial / part.folder, about)
            if (start / MATRIX_LIST).is_file():
                write_matrix_list(read_matrix_list(start), partial)
            write_history(history, partial)
            write_json(partial / RESULT, self._result_record())
            self._write_other_weights(root, partial)

    @property
    def _is_all_coded(self) -> bool:
        """Whether all matrices are coded, and all other weights are stored in 16 bits."""
        result = read_result(self.inputs.start)
        return isinstance(result, Fitted) and result.other_bits is not None

    def _write_other_weights(self, root: nn.Module, folder: Path) -> None:
        """Write the weights beside the matrices in the precision in which they are counted."""
        if not self._is_all_coded:
            write_other_weights(root, folder)
            return
        tables = [id(weight) for weight in self._tables]
        weights = {k: w for k, w in other_weights(root).items() if id(w) not in tables}
        save_file(uncoded_weights(weights, []), folder / OTHER_WEIGHTS, metadata={"format": "pt"})

    def _result_record(self) -> dict[str, Any]:
        """The record for RESULT: sizes, which training does not change, and the errors of the
        trained matrices against the uncompressed ones.
        """
        start = self.inputs.start
        source = self.inputs.source
        if not (start / MATRIX_LIST).is_file():
            counts = read_counts(self.inputs.counts)
            return result_record(embedding_matrix(source), self.matrices["."], counts)
        result = read_result(start).to_json()
        if self._is_all_coded:  # codes are not trained
            return result
        dense = load_model(source, "encoder")
        for about, part in zip(result["modules"], read_matrix_list(start)):
            weights = [linear_weight(dense.get_submodule(place), place) for place in part.layers]
            matrix = torch.cat(weights or [find_embedding(dense)[1].weight]).detach()
            difference = matrix - self.matrices[part.folder].dense()
            about["squared_error"] = float(difference.double().square().sum())
        return result


def finetune_student(
    inputs: StudentInputs, task: LabelledTask[Any], context: TrainingContext, folder: Path
) -> None:
    """Fine-tune a compressed pre-trained model with a new head (`compress_then_finetune`).

    Args:
        inputs: the pre-trained checkpoint and its artefact.
        task: its entry's `finetune` gives the settings, `factors` whether matrices are trained.
        context: seed and device.
        folder: output folder of the student.
    """
    if _propagate_infeasible(inputs.start, folder):
        return
    tokenizer = load_tokenizer(inputs.source)
    model = load_with_new_head(inputs.source, task, context.seed)
    student = Student(model.train(), inputs, task.entry.trains_factors)
    data = training_data(task, tokenizer)
    settings = fine_tuning_settings(task)
    student.train_and_write(data, task_loss, settings, context, model, folder)


def distil_on_task(
    teacher: Path,
    inputs: StudentInputs,
    task: LabelledTask[Any],
    context: TrainingContext,
    folder: Path,
) -> None:
    """Train a student to imitate a fine-tuned teacher on the task's training examples.

    KroneckerBERT's second stage (Tahaei et al., NAACL 2022, section 3.4). The student's head starts
    as a copy of the teacher's.

    Args:
        teacher: the fine-tuned uncompressed checkpoint.
        inputs: an artefact of the teacher, or a student of the pre-trained model that
            `distil_on_text` wrote.
        task: its entry's `distil` gives the settings (`stage2`) and the terms of the loss.
        context: seed and device.
        folder: output folder of the student.
    """
    if _propagate_infeasible(inputs.start, folder):
        return
    tokenizer = load_tokenizer(teacher)
    model = load_model(teacher, task.head)
    student = Student(model, inputs, task.entry.trains_factors)
    distil = task.entry.distil
    assert distil is not None  # the entry of compress_then_distil is checked
    loss = _make_loss(model, load_model(teacher, task.head), distil.terms, task.logits_loss)
    data = training_data(task, tokenizer)
    settings = distil.stage2
    student.train_and_write(data, loss, settings, context, model, folder)


def distil_on_text(
    inputs: StudentInputs,
    texts: list[str],
    stage: TextStage,
    trains_factors: bool,
    context: TrainingContext,
    folder: Path,
) -> None:
    """Train a student to imitate its pre-trained teacher on running text.

    KroneckerBERT's first stage (Tahaei et al., NAACL 2022, section 3.4). With the term `task` the
    student also predicts masked tokens. The paper's next sentence prediction is omitted: the
    corpora do not mark sentences, and RoBERTa (Liu et al., 2019) found that it does not help.

    Args:
        inputs: the pre-trained checkpoint, which is the teacher, and its artefact.
        texts: running text.
        stage: settings, and the terms of the loss.
        trains_factors: whether the tensors of the compressed matrices are trained too, or frozen.
        context: seed and device.
        folder: output folder of the student; its uncompressed weights are those of the encoder,
            without the head.

    Raises:
        UserError: if the term `task` is used and the model has no masked-language-model head, or a
            block is longer than the model's context or the texts.
    """
    if _propagate_infeasible(inputs.start, folder):
        return
    teacher = inputs.source
    tokenizer = load_tokenizer(teacher)
    if "task" in stage.terms:
        collate: Collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=MASKED_SHARE)
        models = [_load_masked_lm(teacher) for _ in range(2)]
    else:
        collate = DataCollatorWithPadding(tokenizer)
        models = [load_model(teacher, "encoder") for _ in range(2)]
    longest = getattr(models[0].config, "max_position_embeddings", stage.block)
    if stage.block > longest:
        raise UserError(
            f"distil.stage1.block is {stage.block}, but {teacher} reads at most {longest} tokens: "
            f"use at most {longest}"
        )
    student = Student(models[0], inputs, trains_factors)
    loss = _make_loss(models[0], models[1], stage.terms)
    blocks = sample_token_blocks(texts, tokenizer, stage.block, stage.tokens, special=True).tolist()
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in blocks]
    data = TrainingData(rows, collate)
    student.train_and_write(data, loss, stage, context, models[0].base_model, folder)


def _propagate_infeasible(start: Path, folder: Path) -> bool:
    """Copy the result to the student's folder if the ratio was infeasible; returns whether it
    was.
    """
    result = read_result(start)
    if isinstance(result, Infeasible):
        if is_main_process():
            write_json(folder / RESULT, result.to_json())
        return True
    return False


def _make_loss(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    terms: Collection[str],
    logits_loss: LogitsLoss | None = None,
) -> Loss:
    """The distillation loss; with the term `task` alone, the task's loss.

    The student stays in `eval` mode whatever the terms, so that all students of
    `compress_then_distil` are trained without dropout, as their teacher runs.
    """
    if set(terms) == {"task"}:
        return task_loss
    return Distillation(student, teacher, terms, logits_loss)


def _load_masked_lm(checkpoint: Path) -> PreTrainedModel:
    """Load a checkpoint with its own masked-language-model head.

    Raises:
        UserError: if the checkpoint has no such head.
    """
    loaded: Any = AUTO_CLASSES["masked_lm"].from_pretrained(
        checkpoint, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    model, info = loaded
    if info["missing_keys"]:
        raise UserError(
            f"{checkpoint} has no head that predicts masked tokens: remove `task` from "
            "`distil.stage1.terms`"
        )
    return model.eval()
