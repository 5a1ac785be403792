"""Where the bits are: the stored tensors of every artefact, and the weights of every checkpoint."""

import json
from pathlib import Path
from typing import Any

import pandas

from .. import storage
from ..export.inspection import groups, stored_tensors
from ..fidelity.record import RESULT
from ..models.checkpoints import card
from ..study import config as study_config
from ..study.matrix_choices import is_whole_model
from .aggregation import Evaluation, checkpoint_label

COLUMNS = [
    "model",
    "method",
    "target_ratio",
    "seed",
    "part",
    "dtype",
    "bits",
    "rows_kept",
    "rows",
    "why",
]
EMBEDDING = "embedding matrix"


def sizes(config: dict[str, Any], evaluations: list[Evaluation]) -> pandas.DataFrame:
    """One row a stored tensor; without a method one row a group of a checkpoint's weights, and why
    it does not shrink.

    `rows_kept` is how many of the matrix's `rows` a method keeps as they were, empty where it keeps
    none so. Ratios that a method cannot reach have no artefact and no row: their reason is the note
    in the table of scores. Entries with `modules` are in `module_sizes`.
    """
    rows: dict[Any, list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        about = {"model": checkpoint_label(config, evaluation.task), "seed": evaluation.seed}
        rows.setdefault(about["model"], _weights(evaluation.checkpoint, about))
        if study_config.is_control(config, evaluation.variant) or is_whole_model(
            config["methods"][evaluation.variant]
        ):
            continue
        for folder in evaluation.artefacts:
            asked = about | {"method": evaluation.variant, "target_ratio": float(folder.name)}
            rows.setdefault(folder, _stored(folder, asked))
    return pandas.DataFrame([row for found in rows.values() for row in found], columns=COLUMNS)


def _stored(folder: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The tensors of one artefact."""
    if "infeasible" in json.loads((folder / RESULT).read_text()):
        return []
    header = storage.read_json(folder / storage.HEADER)
    kept = {"rows_kept": header["config"].get("n_kept"), "rows": header["shape"][0]}
    return [
        about
        | kept
        | {"part": tensor.name, "dtype": tensor.dtype, "bits": 8 * tensor.bytes, "why": ""}
        for tensor in stored_tensors(storage.tensor_table(folder / storage.TENSORS))
    ]


def _weights(checkpoint: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The dense embedding of a checkpoint.

    And its other weights by the reason for which they stay.
    """
    described = card(checkpoint)
    name = described["embedding"]
    rows = described["shape"][0]
    tensors = stored_tensors(storage.tensor_table(checkpoint / "model.safetensors"))
    # As in `embedding_matrix`: a base model's state dict lacks the prefix.
    (embedding,) = [t for t in tensors if t.name == name or name.endswith("." + t.name)]
    shared = about | {"method": "", "rows": rows, "dtype": embedding.dtype}
    parts = [(EMBEDDING, embedding.bytes, "what the methods replace")]
    parts += [
        (g.name, g.bytes, g.why) for g in groups([t for t in tensors if t is not embedding], rows)
    ]
    return [shared | {"part": part, "bits": 8 * size, "why": why} for part, size, why in parts]
