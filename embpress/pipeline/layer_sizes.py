"""Sizes and floating-point operations of each kind of weight matrix, dense and compressed."""

import math
from pathlib import Path
from typing import Any

import pandas

from ..fidelity.record import Fitted, MatrixRecord, read_result
from ..models.checkpoints import read_metadata
from ..study.layer_kinds import KEPT
from ..study.study import Study
from .aggregation import Evaluation, checkpoint_label
from .layer_compression import sum_or_none

LAYER_SIZE_COLUMNS = [
    "model",
    "method",
    "target_ratio",
    "seed",
    "kind",
    "matrices",
    "dense_parameters",
    "floats",
    "bits",
    "dense_flops",
    "flops",
    "relative_error",
]


def module_sizes(study: Study, evaluations: list[Evaluation]) -> pandas.DataFrame:
    """Sum up the matrices of every artefact of a variant that compresses layers, kind by kind.

    Returns:
        One row of LAYER_SIZE_COLUMNS a kind of matrix of an artefact, and one for all weights that
        stay dense. `floats` counts the stored floats, empty where integer codes carry the values.
        `flops` are the floating-point operations of the matrices' products for
        `layer_compression.TOKENS` tokens. `relative_error` is of all matrices of the kind together.
    """
    rows: dict[Path, list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        variant = study.variants[evaluation.variant]
        if not variant.compresses_layers:
            continue
        for artefact in evaluation.artefacts:
            result = read_result(artefact.folder)
            if artefact.folder in rows or not isinstance(result, Fitted):
                continue
            shared = {
                "model": checkpoint_label(study, evaluation.task),
                "method": evaluation.variant,
                "target_ratio": None if variant.is_control else artefact.ratio,
                "seed": evaluation.seed,
            }
            parameters = read_metadata(evaluation.checkpoint)["parameters"]
            rows[artefact.folder] = [shared | row for row in _sum_by_kind(result, parameters)]
    all_rows = [row for of_artefact in rows.values() for row in of_artefact]
    return pandas.DataFrame(all_rows, columns=LAYER_SIZE_COLUMNS)


def _sum_by_kind(result: Fitted, parameters: int) -> list[dict[str, Any]]:
    """Sums over the matrices of each kind, and the weights of the model that stay dense."""
    by_kind: dict[str, list[MatrixRecord]] = {}
    for record in result.modules or []:
        by_kind.setdefault(record["kind"], []).append(record)
    rows = [_sum_of_kind(kind, records) for kind, records in by_kind.items()]
    kept = parameters - (result.dense_floats or 0)
    bits = 32 * kept if result.other_bits is None else result.other_bits
    return [*rows, {"kind": KEPT, "dense_parameters": kept, "floats": kept, "bits": bits}]


def _sum_of_kind(kind: str, records: list[MatrixRecord]) -> dict[str, Any]:
    """Sums over the matrices of one kind."""
    energy = sum(record["energy"] for record in records)
    squared_error = sum(record["squared_error"] for record in records)
    return {
        "kind": kind,
        "matrices": sum(record["matrices"] for record in records),
        "dense_parameters": sum(record["dense_bits"] for record in records) // 32,
        "floats": sum_or_none([record["floats"] for record in records]),
        "bits": sum(record["bits"] for record in records),
        "dense_flops": sum(record["dense_flops"] for record in records),
        "flops": sum(record["flops"] for record in records),
        "relative_error": math.sqrt(squared_error / energy) if energy else None,
    }
