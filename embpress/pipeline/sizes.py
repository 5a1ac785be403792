"""Sizes of the stored tensors of every artefact, and of the weights of every checkpoint."""

from pathlib import Path
from typing import Any

import pandas

from .. import storage
from ..export.inspection import group_uncompressed, list_tensors
from ..fidelity.record import Infeasible, read_result
from ..files import read_json
from ..models.checkpoints import read_metadata
from ..models.vocabulary import KEPT_IDS
from ..safetensors_header import read_header
from ..study.study import Study
from .aggregation import Evaluation, checkpoint_label

SIZE_COLUMNS = [
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
EMBEDDING_LABEL = "embedding matrix"


def sizes(study: Study, evaluations: list[Evaluation]) -> pandas.DataFrame:
    """List the sizes of all tensors of a study's compressed embeddings and checkpoints.

    Returns:
        One row of SIZE_COLUMNS a stored tensor. Rows without a method are the groups of a
        checkpoint's weights, with the reason why they are not compressed. `rows_kept` counts the
        matrix's `rows` that a method keeps unchanged, empty if it keeps none. Infeasible ratios
        have no row; their reason is the note in the table of scores. Entries with `modules` are in
        `module_sizes`.
    """
    rows: dict[str | Path, list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        label = checkpoint_label(study, evaluation.task)
        shared = {"model": label, "seed": evaluation.seed}
        rows.setdefault(label, _checkpoint_rows(evaluation.checkpoint, shared))
        variant = study.variants[evaluation.variant]
        if variant.is_control or variant.compresses_layers:
            continue
        for artefact in evaluation.artefacts:
            keys = {"method": evaluation.variant, "target_ratio": artefact.ratio}
            n_rows = read_metadata(evaluation.checkpoint)["shape"][0]
            of_artefact = _artefact_rows(artefact.folder, n_rows, shared | keys)
            rows.setdefault(artefact.folder, of_artefact)
    all_rows = [row for of_folder in rows.values() for row in of_folder]
    return pandas.DataFrame(all_rows, columns=SIZE_COLUMNS)


def _artefact_rows(folder: Path, n_rows: int, shared: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a tensor of an artefact; none for an infeasible ratio.

    Args:
        folder: the artefact.
        n_rows: rows of the uncompressed embedding.
        shared: columns of all rows.
    """
    if isinstance(read_result(folder), Infeasible):
        return []
    header = read_json(folder / storage.HEADER)
    is_trimmed = (folder / KEPT_IDS).is_file()
    n_kept = header["shape"][0] if is_trimmed else header["config"].get("n_kept")
    kept = {"rows_kept": n_kept, "rows": n_rows}
    return [
        shared
        | kept
        | {"part": tensor.name, "dtype": tensor.dtype, "bits": 8 * tensor.bytes, "why": ""}
        for tensor in list_tensors(read_header(folder / storage.TENSORS))
    ]


def _checkpoint_rows(checkpoint: Path, shared: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for the dense embedding of a checkpoint, and one a group of its other weights."""
    metadata = read_metadata(checkpoint)
    name = metadata["embedding"]
    rows = metadata["shape"][0]
    tensors = list_tensors(read_header(checkpoint / "model.safetensors"))
    # As in `embedding_matrix`: a base model's state dict lacks the prefix.
    (embedding,) = [t for t in tensors if t.name == name or name.endswith("." + t.name)]
    keys = {"method": "", "rows": rows, "dtype": embedding.dtype}
    parts = [(EMBEDDING_LABEL, embedding.bytes, "what the methods replace")]
    others = [tensor for tensor in tensors if tensor is not embedding]
    parts += [(group.name, group.bytes, group.why) for group in group_uncompressed(others, rows)]
    return [
        shared | keys | {"part": part, "bits": 8 * size, "why": why} for part, size, why in parts
    ]
