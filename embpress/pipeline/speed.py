"""Latency of lookups in every artefact of a study, in one thread, against dense lookups.

Times differ from run to run and therefore have a table of their own beside the scores.
"""

import statistics
from collections.abc import Callable
from typing import Any

import pandas
import torch
from torch import Tensor
from torch.nn import functional

from .. import storage
from ..data.token_counts import read_counts
from ..fidelity.record import Fitted, read_result
from ..formats._base import CompressedMatrix
from ..models.checkpoints import embedding_matrix
from ..models.decoding import most_frequent, with_decoding
from ..numerics.timing import time_functions
from ..study.artefact import Artefact
from ..study.study import IDENTITY, Study
from .aggregation import Evaluation

ROWS = (1, 128, 1024)
"""Rows of one lookup: a generated token, a sentence, a batch."""
RUNS = 21
"""Timed lookups of each number of rows."""
SPEED_COLUMNS = [
    "model",
    "method",
    "target_ratio",
    "bytes",
    "rows",
    "microseconds",
    "low",
    "high",
    "dense",
    "cached",
    "decoded",
]


def speed(
    study: Study, evaluations: list[Evaluation], progress: Callable[[str], None]
) -> pandas.DataFrame:
    """Time lookups in the compressed embeddings of a study.

    Of several checkpoints or seeds of one model the first is timed, as their matrices have the same
    shape.

    Returns:
        One row of SPEED_COLUMNS a model, method, ratio and number of rows: median and quartiles of
        a lookup and the median of the dense lookup, in microseconds; `cached` and `decoded` of
        `decoding_ratios`. `bytes` are those of the stored tensors. The dense matrix has rows too,
        as method "identity" without a ratio.
    """
    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        for model, artefacts in _first_artefacts(study, evaluations).items():
            timed: list[dict[str, Any]] = []
            for artefact, evaluation in artefacts.values():
                progress(f"lookups of {artefact.folder}")
                compressed = storage.load(artefact.folder)
                dense = embedding_matrix(evaluation.checkpoint).float()
                counts = read_counts(evaluation.counts)
                keys = {"model": model, "method": artefact.variant, "target_ratio": artefact.ratio}
                ratios = decoding_ratios(compressed, dense, counts)
                times = zip(lookups(compressed, dense), ratios)
                timed += [keys | of_rows | by_way for of_rows, by_way in times]
            rows += [*timed, *_dense_rows(timed, 4 * dense.numel())] if timed else []
    return pandas.DataFrame(rows, columns=SPEED_COLUMNS)


def _first_artefacts(
    study: Study, evaluations: list[Evaluation]
) -> dict[str, dict[tuple[str, float], tuple[Artefact, Evaluation]]]:
    """By model, the first artefact of each variant and ratio, with its evaluation."""
    first: dict[str, dict[tuple[str, float], tuple[Artefact, Evaluation]]] = {}
    for evaluation in evaluations:
        variant = study.variants[evaluation.variant]
        # The ratio of a variant that compresses layers is not that of its embedding. A trimmed
        # embedding is a dense one of fewer rows.
        if variant.is_control or variant.compresses_layers or variant.trims_vocabulary:
            continue
        model = study.tasks[evaluation.task].model
        of_model = first.setdefault(study.models[model].label, {})
        for artefact in evaluation.artefacts:
            if isinstance(read_result(artefact.folder), Fitted):
                key = (artefact.variant, artefact.ratio)
                of_model.setdefault(key, (artefact, evaluation))
    return first


def lookups(compressed: CompressedMatrix, dense: Tensor) -> list[dict[str, Any]]:
    """Time lookups of random rows, different ones in every lookup.

    Args:
        compressed: a matrix of shape (V, d).
        dense: the matrix before its compression, float32 (V, d).

    Returns:
        One row for each of ROWS, times in microseconds.
    """
    rows = []
    for n in ROWS:
        generator = torch.Generator().manual_seed(n)
        # One warm-up and RUNS lookups, of both matrices.
        ids = iter(
            [torch.randint(len(dense), (n,), generator=generator) for _ in range(2 * (RUNS + 1))]
        )
        plain, ours = time_functions(
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
        rows.append(
            {"bytes": compressed.stored_bits // 8, "rows": n}
            | {k: 1e6 * v for k, v in times.items()}
        )
    return rows


def decoding_ratios(
    compressed: CompressedMatrix, dense: Tensor, counts: Tensor
) -> list[dict[str, float]]:
    """Time lookups of tokens drawn by their counts, with a cache and with all rows decoded.

    Args:
        compressed: a matrix of shape (V, d).
        dense: the matrix before its compression, float32 (V, d).
        counts: token counts (V,).

    Returns:
        For each of ROWS, the median times of `cached` and `decoded` as multiples of that of a dense
        lookup of the same ids.
    """
    frequent = most_frequent(counts)
    cached = with_decoding(compressed, "cached", frequent, dense.dtype)
    decoded = with_decoding(compressed, "dense", frequent, dense.dtype)
    ratios = []
    for n in ROWS:
        generator = torch.Generator().manual_seed(n)
        weights = counts.double().clamp(min=torch.finfo(torch.float64).tiny)
        drawn = torch.multinomial(weights, n * (RUNS + 1), replacement=True, generator=generator)
        ids = [iter(drawn.split(n)) for _ in range(3)]
        plain, *ours = time_functions(
            lambda ids=ids[0]: functional.embedding(next(ids), dense),  # type: ignore[misc]
            lambda ids=ids[1]: cached.lookup(next(ids)),  # type: ignore[misc]
            lambda ids=ids[2]: decoded.lookup(next(ids)),  # type: ignore[misc]
            runs=RUNS,
        )
        names = ("cached", "decoded")
        ratios.append({k: own.median / plain.median for k, own in zip(names, ours)})
    return ratios


def _dense_rows(timed: list[dict[str, Any]], size: int) -> list[dict[str, Any]]:
    """Rows of the dense matrix of one model, of `size` bytes.

    Its time is the median over the dense lookups timed beside all artefacts.
    """
    keys = {
        "model": timed[0]["model"],
        "method": IDENTITY,
        "target_ratio": None,
        "bytes": size,
    }
    rows = []
    for n in ROWS:
        time = statistics.median(row["dense"] for row in timed if row["rows"] == n)
        rows.append(
            keys
            | {"rows": n, "cached": 1.0, "decoded": 1.0}
            | dict.fromkeys(("microseconds", "low", "high", "dense"), time)
        )
    return rows
