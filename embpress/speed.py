"""How fast every artefact of a study answers lookups, in one thread, beside a dense lookup in the same run.

Times differ from run to run, which is why they have a table of their own and are no part of scores.csv.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import torch
from torch import Tensor
from torch.nn import functional

from . import config as study_config
from . import storage
from .aggregation import Evaluation, checkpoint_label
from .checkpoints import embedding_matrix
from .compression import RESULT
from .formats.base import CompressedMatrix
from .timing import compared

ROWS = (1, 128, 1024)
"""Rows of one lookup: a token that is generated, a sentence, a batch."""
RUNS = 21
COLUMNS = ["model", "method", "ratio_asked", "bytes", "rows", "microseconds", "low", "high", "dense"]


def speed(config: dict[str, Any], evaluations: list[Evaluation], progress: Callable[[str], None]) -> pandas.DataFrame:
    """One row an artefact of the first seed and number of rows: median microseconds of a lookup, quartiles, and the dense's.

    `bytes` are those of the stored tensors. A dense matrix has a row too: method "identity", no ratio asked.
    """
    rows: list[dict[str, Any]] = []
    seen: set[Path] = set()
    with torch.inference_mode():
        for evaluation in evaluations:
            if evaluation.seed != config["seeds"][0] or study_config.is_control(config, evaluation.variant):
                continue
            for folder in evaluation.artefacts:
                if folder in seen or "infeasible" in json.loads((folder / RESULT).read_text()):
                    continue
                seen.add(folder)
                progress(f"lookups of {folder}")
                dense = embedding_matrix(evaluation.checkpoint).float()
                about = {"method": evaluation.variant, "ratio_asked": float(folder.name)}
                rows += [
                    {"model": checkpoint_label(config, evaluation.task)} | about | found
                    for found in lookups(storage.load(folder), dense)
                ]
    return pandas.DataFrame(rows + _dense(rows, evaluations, config), columns=COLUMNS)


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
        ids = iter([torch.randint(len(dense), (n,), generator=generator) for _ in range(2 * (RUNS + 1))])
        plain, ours = compared(
            lambda ids=ids: functional.embedding(next(ids), dense),  # type: ignore[misc]
            lambda ids=ids: compressed.rows(next(ids)),  # type: ignore[misc]
            runs=RUNS,
        )
        times = {"microseconds": ours.median, "low": ours.low, "high": ours.high, "dense": plain.median}
        found.append({"bytes": compressed.stored_bits // 8, "rows": n} | {k: 1e6 * v for k, v in times.items()})
    return found


def _dense(rows: list[dict[str, Any]], evaluations: list[Evaluation], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The dense matrix of each checkpoint: the median of its medians beside all artefacts."""
    if not rows:
        return []
    checkpoints = {checkpoint_label(config, e.task): e.checkpoint for e in evaluations}
    dense = []
    for (model, n), group in pandas.DataFrame(rows).groupby(["model", "rows"], sort=False):
        time = float(group["dense"].median())
        size = 4 * embedding_matrix(checkpoints[model]).numel()
        about = {"model": model, "method": study_config.IDENTITY, "ratio_asked": None, "bytes": size, "rows": n}
        dense.append(about | dict.fromkeys(("microseconds", "low", "high", "dense"), time))
    return dense
