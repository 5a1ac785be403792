"""Run one task on several artefacts of one checkpoint: the model is loaded once."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedModel

from ..models.compressed_model import CompressedModel, load_other_weights
from ..models.embedding import OTHER_WEIGHTS, untie_head
from ..models.loading import load_model
from ..models.positions import check_length
from ..models.tokenization import load_tokenizer
from ..models.vocabulary import read_kept_ids, trim_model
from ..numerics.device import CPU
from ..tasks import Outcomes, Task


@dataclass(frozen=True)
class Runtime:
    """Where a model runs, and in which type it computes."""

    device: torch.device = CPU
    precision: str = "float32"
    """`float32`, `bfloat16` or `float16`."""


FLOAT32_ON_CPU = Runtime()


def evaluate(
    task: Task[Any],
    checkpoint: Path,
    artefacts: list[Path],
    progress: Callable[[str], None],
    runtime: Runtime = FLOAT32_ON_CPU,
    reference: Outcomes | None = None,
) -> Iterator[tuple[Path, Outcomes]]:
    """Compute the outcomes of a task for each artefact.

    An artefact whose vocabulary is trimmed is evaluated with its own tokenizer.

    Args:
        task: a task with its test examples.
        checkpoint: the model whose matrices the artefacts compress.
        artefacts: folders of one variant's compressed matrices, or of students trained on them.
        progress: called with a line about every batch.
        runtime: where the model runs, and in which type.
        reference: outcomes of the uncompressed model, for metrics that compare models with it.

    Yields:
        The artefact's folder, and the outcomes of the task's examples.
    """
    dtype = getattr(torch, runtime.precision)
    model = load_model(checkpoint, task.head, runtime.device, dtype)
    if task.entry.input_length is not None:
        check_length(model, *task.entry.input_length)
    tokenizer = load_tokenizer(checkpoint)
    if task.entry.keeps_dense_head:
        untie_head(model)
    if reference is not None:
        task.set_reference(model, reference)
    compressed = CompressedModel(model, decode=True)
    for artefact in artefacts:
        progress(f"artefact {artefact.name}")
        kept_ids = read_kept_ids(artefact)
        if kept_ids is not None:
            trimmed = _trimmed_model(model, kept_ids, artefact)
            yield artefact, task.outcomes(trimmed, load_tokenizer(artefact), progress)
            continue
        compressed.load_matrices(artefact)
        if (artefact / OTHER_WEIGHTS).is_file():
            load_other_weights(model, artefact)
        yield artefact, task.outcomes(model, tokenizer, progress)


def _trimmed_model(model: PreTrainedModel, kept_ids: list[int], artefact: Path) -> PreTrainedModel:
    """A copy of a dense model with the trimmed vocabulary of an artefact."""
    trimmed = copy.deepcopy(model)
    trim_model(trimmed, kept_ids)
    CompressedModel(trimmed, decode=True).load_matrices(artefact)
    return trimmed


def write_outcomes(outcomes: dict[str, Outcomes], path: Path) -> None:
    """Write the outcomes of several artefacts, as tensors named `artefact/outcome`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors writes the memory of an array and ignores its strides.
    tensors = {
        f"{artefact}/{name}": np.ascontiguousarray(values)
        for artefact, by_name in outcomes.items()
        for name, values in by_name.items()
    }
    save_file(tensors, path)


def read_outcomes(path: Path) -> dict[str, Outcomes]:
    """Read the outcomes that `write_outcomes` wrote, by artefact."""
    outcomes: dict[str, Outcomes] = {}
    for key, values in load_file(path).items():
        artefact, name = key.split("/", 1)
        outcomes.setdefault(artefact, {})[name] = values
    return outcomes
