"""The best method for a size: fit each to a matrix under so many megabytes, and rank them by what
frequent tokens lose.

A megabyte is 10^6 bytes, of the compressed embedding matrix: the rest of a model does not change.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..fidelity.reconstruction import reconstruction
from ..files import first_line
from ..methods import compress, method_class, names
from ..methods._base import Context, checked_matrix
from ..study.protocols import STUDENTS
from .compress import open_source

MEGABYTE = 10**6
LEAST_POINTS = 10
"""Scores below which no curve is fitted."""
FOLDS = 5


@dataclass(frozen=True)
class Candidate:
    """What one method makes of the matrix within the budget."""

    method: str
    label: str
    bytes: int = 0
    ratio: float = math.nan
    """Reached: dense fp32 bits / bits stored."""
    relative_error: float = math.nan
    weighted_relative_error: float = math.nan
    """By token counts; without counts each row counts alike."""
    mean_cosine: float = math.nan
    retention: float = math.nan
    """Estimate in % of the uncompressed score, where scores of a study are given."""
    note: str = ""
    """Why there is no result."""

    @property
    def fits(self) -> bool:
        """Whether the method reached the budget."""
        return not self.note

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; what is not known is None."""
        return {
            k: None if isinstance(v, float) and math.isnan(v) else v
            for k, v in asdict(self).items()
        }


@dataclass(frozen=True)
class Ranking:
    """All candidates, the best first and those that do not fit last."""

    candidates: list[Candidate]
    ratio_asked: float
    megabytes: float
    counted: bool
    """Whether token counts weighed the errors."""
    retention_error: float = math.nan
    """Mean absolute error of the estimated retention in cross-validation, in points."""

    @property
    def best(self) -> Candidate:
        """The winner.

        Raises:
            UserError: if no method fits.
        """
        if not self.candidates or not self.candidates[0].fits:
            reasons = "; ".join(f"{c.method}: {c.note}" for c in self.candidates)
            raise UserError(f"no method fits into {self.megabytes:g} MB ({reasons}): allow more")
        return self.candidates[0]


def candidates() -> list[str]:
    """Names of all methods but the controls, which store nothing that is of use."""
    return [name for name in names() if method_class(name).kind != "control"]


def best_under(
    matrix: Tensor | str | Path,
    megabytes: float,
    counts: Tensor | None = None,
    methods: Iterable[str] | None = None,
    scores: str | Path | None = None,
    context: Context | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Ranking:
    """Fit methods to a matrix so that each stores at most so many megabytes, and rank them.

    Args:
        matrix: (V, d), or the folder of a transformers model.
        megabytes: what the compressed matrix may store at most, in 10^6 bytes.
        counts: (V,) token counts; without them rows weigh alike, and methods that cannot do without
            drop out.
        methods: names; all but controls where None.
        scores: a study's scores.csv, from which retention is estimated.
        context: seed and special tokens for the fits; of a folder's model its own special tokens
            without it.
        progress: told which method is fitted.

    Raises:
        UserError: if the budget is no size, the matrix needs no compression or cannot be
            compressed, a method is unknown, or counts are of another matrix.
    """
    if not isinstance(matrix, Tensor):
        source = open_source(Path(matrix), counts, seed=context.seed if context else 0)
        matrix = source.matrix
        context = context or source.context
    dense = 4 * matrix.numel()
    if not 0 < megabytes < math.inf:
        raise UserError(f"{megabytes:g} MB is no size: give a number above 0")
    if megabytes * MEGABYTE >= dense:
        raise UserError(
            f"the matrix takes {dense / MEGABYTE:.3g} MB dense in fp32, within {megabytes:g} MB: nothing to compress"
        )
    ratio = dense / (megabytes * MEGABYTE)
    context = context or Context()
    if counts is not None:
        context = replace(context, counts=counts)
    matrix = cast(Tensor, checked_matrix(matrix))
    context.check(len(matrix))
    # Where nothing is known of frequencies, rows weigh alike.
    weights = (
        context.counts
        if context.counts is not None
        else torch.zeros(len(matrix), dtype=torch.int64)
    )
    found = []
    for name in candidates() if methods is None else methods:
        progress(f"fitting {name}")
        found.append(_candidate(matrix, name, ratio, context, weights))
    retention_error = math.nan
    if scores is not None:
        predict, retention_error = retention_model(Path(scores))
        found = [
            replace(c, retention=predict(c.weighted_relative_error)) if c.fits else c for c in found
        ]
    order = sorted(
        found,
        key=lambda c: (not c.fits, c.weighted_relative_error if c.fits else 0.0, c.bytes, c.method),
    )
    return Ranking(order, ratio, megabytes, context.counts is not None, retention_error)


def _candidate(
    matrix: Tensor, name: str, ratio: float, context: Context, weights: Tensor
) -> Candidate:
    """One method at the ratio; what it cannot do is a note, not an error."""
    method = method_class(name)
    label = method.label
    # Without counts a method that weighs rows by them weighs them alike.
    options = {"weighting": "uniform"} if method.weighted and context.counts is None else {}
    try:
        compressed = compress(matrix, name, ratio, context, **options)
    except UserError as reason:
        return Candidate(name, label, note=str(reason))
    if compressed.stored_bits * ratio > 32 * matrix.numel() * (1 + 1e-9):
        return Candidate(
            name, label, note=f"stores {compressed.stored_bits // 8} bytes, more than the budget"
        )
    near = reconstruction(matrix.float(), compressed, weights)
    return Candidate(
        method=name,
        label=label,
        bytes=compressed.stored_bits // 8,
        ratio=compressed.ratio,
        relative_error=near.relative_error,
        weighted_relative_error=near.weighted_relative_error,
        mean_cosine=near.mean_cosine,
    )


def retention_model(path: Path) -> tuple[Callable[[float], float], float]:
    """Retention as a falling curve of the weighted relative error, pooled over the tasks and models
    of a study.

    A task's metrics are averaged first, so that each task weighs alike. Controls are left out, and
    models that were trained after compression, as nothing is here. Cross-validated by the study's
    rows: a fold's are predicted from the scores of the others, as an estimate for a new matrix
    would be.

    Returns:
        The curve (error to retention in %), and its mean absolute error in points on methods left
        out.

    Raises:
        UserError: if the file is no table of scores, or holds too few.
    """
    from ..analysis.scores import read

    try:
        frame = read(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is no table of scores ({first_line(error)}): give a study's scores.csv"
        ) from error
    frame = frame.dropna(
        subset=["weighted_relative_error", "retention", "ratio_asked"]
    )  # controls have no ratio
    frame = frame[~frame["protocol"].isin(STUDENTS)]
    artefact = ["task", "method", "ratio_asked", "seed"]
    frame = frame.groupby(artefact, as_index=False)[["weighted_relative_error", "retention"]].mean()
    x = frame["weighted_relative_error"].to_numpy()
    y = frame["retention"].to_numpy()
    groups = frame["method"].to_numpy()
    n_groups = len(set(groups))
    if len(x) < LEAST_POINTS or n_groups < 2:
        raise UserError(
            f"{path} holds {len(x)} scores of {n_groups} methods with errors: too few for an estimate"
        )

    missed = []
    for test in _folds(groups, min(FOLDS, n_groups)):
        predict = _fit_falling_curve(x[~test], y[~test])
        missed.append(np.abs(predict(x[test]) - y[test]))
    predict = _fit_falling_curve(x, y)
    return lambda error: float(predict(error)), float(np.concatenate(missed).mean())


def _fit_falling_curve(x: np.ndarray, y: np.ndarray) -> Callable[[Any], np.ndarray]:
    """The non-increasing function of least squared error through points (n,) and (n,).

    Linear between the points, constant beyond the first and the last; equal x are averaged.
    """
    from scipy.optimize import isotonic_regression  # only here: it takes a while to import

    points, index, counts = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(index, weights=y) / counts
    levels = isotonic_regression(means, weights=counts, increasing=False).x
    return lambda at: np.interp(at, points, levels)


def _folds(groups: np.ndarray, n_folds: int) -> Iterator[np.ndarray]:
    """Masks (n,) of the folds; a group is in one fold alone, the largest in the emptiest fold."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    fold_of = np.empty(len(counts), dtype=np.int64)
    sizes = np.zeros(n_folds, dtype=np.int64)
    for group in np.argsort(counts)[::-1]:
        fold_of[group] = sizes.argmin()
        sizes[fold_of[group]] += counts[group]
    for fold in range(n_folds):
        yield fold_of[index] == fold
