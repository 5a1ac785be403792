"""Run one task over compressed forms of one checkpoint.

The model is loaded once, matrices are swapped.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from ..models.compressed_model import CompressedModel, load_other_weights
from ..models.embedding import OTHER_WEIGHTS, load_model, untie_head
from ..models.tokenization import load_tokenizer
from ..tasks import Outcomes, Task


def evaluate(
    task: Task, checkpoint: Path, artefacts: list[Path], progress: Callable[[str], None]
) -> Iterator[tuple[Path, Outcomes]]:
    """Outcomes of a task for each artefact.

    Args:
        task: a task with its test examples.
        checkpoint: the model whose matrices the artefacts compress.
        artefacts: folders of one variant's compressed matrices, or of students trained on them.
        progress: called with a line about every batch.

    Yields:
        The artefact's folder, and what the task's examples came to.
    """
    model = load_model(checkpoint, task.head)
    tokenizer = load_tokenizer(checkpoint)
    if task.config.get("dense_head", False):
        untie_head(model)
    compressed = CompressedModel(model)
    for artefact in artefacts:
        compressed.load_matrices(artefact)
        if (artefact / OTHER_WEIGHTS).is_file():
            load_other_weights(model, artefact)
        progress(f"artefact {artefact.name}")
        yield artefact, task.outcomes(model, tokenizer, progress)


def write_outcomes(found: dict[str, Outcomes], path: Path) -> None:
    """Write outcomes of several artefacts: tensors named `artefact/outcome`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors writes the memory of an array as it lies: of a view with strides, other numbers
    # than the array's.
    whole = {
        f"{artefact}/{name}": np.ascontiguousarray(v)
        for artefact, o in found.items()
        for name, v in o.items()
    }
    save_file(whole, path)


def read_outcomes(path: Path) -> dict[str, Outcomes]:
    """Read outcomes that `write_outcomes` wrote, by artefact."""
    found: dict[str, Outcomes] = {}
    for key, values in load_file(path).items():
        artefact, name = key.split("/", 1)
        found.setdefault(artefact, {})[name] = values
    return found
