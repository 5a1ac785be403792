"""How fast every artefact of a study answers lookups, in one thread, beside a dense lookup in the
same run.

Times differ from run to run, which is why they have a table of their own and are no part of
scores.csv.
"""

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor
from torch.nn import functional

from .. import storage
from ..fidelity.record import RESULT
from ..formats._base import CompressedMatrix
from ..models.checkpoints import embedding_matrix
from ..numerics.timing import compared
from ..study import config as study_config
from ..study.matrix_choices import is_whole_model
from .aggregation import Evaluation

ROWS = (1, 128, 1024)
"""Rows of one lookup: a token that is generated, a sentence, a batch."""
RUNS = 21
COLUMNS = [
    "model",
    "method",
    "target_ratio",
    "bytes",
    "rows",
    "microseconds",
    "low",
    "high",
    "dense",
]


def speed(
    config: dict[str, Any], evaluations: list[Evaluation], progress: Callable[[str], None]
) -> pandas.DataFrame:
    """One row a model, method, ratio and number of rows: median microseconds of a lookup,
    quartiles, and the dense's.

    Of several checkpoints or seeds of one model the first is measured, as their matrices are of one
    shape. `bytes` are those of the stored tensors. A dense matrix has a row too: method "identity",
    no ratio asked.
    """
    rows: list[dict[str, Any]] = []
    chosen = _first_artefacts(config, evaluations)
    with torch.inference_mode():
        for model, artefacts in chosen.items():
            found: list[dict[str, Any]] = []
            for (method, ratio), (folder, checkpoint) in artefacts.items():
                progress(f"lookups of {folder}")
                compressed = storage.load(folder)
                dense = embedding_matrix(checkpoint).float()
                found += [
                    {"model": model, "method": method, "target_ratio": ratio} | t
                    for t in lookups(compressed, dense)
                ]
            rows += [*found, *_dense(found, 4 * dense.numel())] if found else []
    return pandas.DataFrame(rows, columns=COLUMNS)


def _first_artefacts(
    config: dict[str, Any], evaluations: list[Evaluation]
) -> dict[str, dict[tuple[str, float], tuple[Path, Path]]]:
    """By model, the first artefact of each method and ratio, with its checkpoint.

    Of the embedding alone.
    """
    chosen: dict[str, dict[tuple[str, float], tuple[Path, Path]]] = {}
    for evaluation in evaluations:
        # The ratio of a whole-model variant is not of its embedding, if that is compressed at all.
        if study_config.is_control(config, evaluation.variant) or is_whole_model(
            config["methods"][evaluation.variant]
        ):
            continue
        found = chosen.setdefault(
            config["models"][config["tasks"][evaluation.task]["model"]]["label"], {}
        )
        for folder in evaluation.artefacts:
            if "infeasible" not in json.loads((folder / RESULT).read_text()):
                found.setdefault(
                    (evaluation.variant, float(folder.name)), (folder, evaluation.checkpoint)
                )
    return chosen


def lookups(compressed: CompressedMatrix, dense: Tensor) -> list[dict[str, Any]]:
    """Times of lookups of ROWS rows each, other rows every time.

    Args:
        compressed: a matrix of shape (V, d).
        dense: what it stands for, float32 (V, d).
    """
    found = []
    for n in ROWS:
        generator = torch.Generator().manual_seed(n)
        # One warm-up and RUNS lookups, of both matrices.
        ids = iter(
            [torch.randint(len(dense), (n,), generator=generator) for _ in range(2 * (RUNS + 1))]
        )
        plain, ours = compared(
            lambda ids=ids: functional.embedding(next(ids), dense),  # type: ignore[misc]
            lambda ids=ids: compressed.rows(next(ids)),  # type: ignore[misc]
            runs=RUNS,
        )
        times = {
            "microseconds": ours.median,
            "low": ours.low,
            "high": ours.high,
            "dense": plain.median,
        }
        found.append(
            {"bytes": compressed.stored_bits // 8, "rows": n}
            | {k: 1e6 * v for k, v in times.items()}
        )
    return found


def _dense(found: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """The dense matrix of one model, of `size` bytes.

    The median of its medians beside all artefacts.
    """
    about = {
        "model": found[0]["model"],
        "method": study_config.IDENTITY,
        "target_ratio": None,
        "bytes": size,
    }
    rows = []
    for n in ROWS:
        time = statistics.median(row["dense"] for row in found if row["rows"] == n)
        rows.append(
            about | {"rows": n} | dict.fromkeys(("microseconds", "low", "high", "dense"), time)
        )
    return rows
