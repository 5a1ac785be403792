"""Rank methods at a size limit: fit each one to an embedding matrix, and compare the errors.

A megabyte is 10^6 bytes, and the limit holds for the compressed embedding matrix only: the other
weights of a model do not change.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError
from ..fidelity.reconstruction import reconstruction
from ..files import summarize_error
from ..methods import compress, method_class, names, resolve_name
from ..methods._base import Context, checked_matrix
from ..numerics.matrices import Rows
from ..study.task_entry import STUDENT_PROTOCOLS
from .model_source import locate_model
from .source import open_dense_source

MEGABYTE = 10**6
MIN_SCORES = 10
"""Number of scores below which no retention curve is fitted."""
FOLDS = 5
DTYPES = ("int8", "int4", "float32")
"""Precisions of factors that are tried; the last one only where no other is possible."""
ROUNDING = 1e-9
"""Relative tolerance of the size limit, which a ratio computed from it may miss by rounding."""


@dataclass(frozen=True)
class Candidate:
    """The result of one method at the size limit."""

    method: str
    label: str
    bytes: int = 0
    ratio: float = math.nan
    """Achieved: dense fp32 bits / stored bits."""
    relative_error: float = math.nan
    weighted_relative_error: float = math.nan
    """With rows weighted by token counts; without counts all rows have the same weight."""
    mean_cosine: float = math.nan
    retention: float = math.nan
    """Estimate in % of the uncompressed score; NaN without the scores of a study."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of the fit: those of least error among precisions of factors, weighted by counts."""
    note: str = ""
    """Why the method has no result; empty where it has one."""

    @property
    def fits(self) -> bool:
        """Whether the method stays below the size limit."""
        return not self.note

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, with None for NaN."""
        values = asdict(self).items()
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values}


@dataclass(frozen=True)
class RankingSettings:
    """What `rank_methods` compares, and what it knows of the matrix."""

    methods: Sequence[str] | None = None
    """Names of methods; None means all but the controls."""
    counts: str | Path | Tensor | None = None
    """(V,) token counts, or for a model's folder a file of them.

    Without counts, a model's are found as `compress_model` does. All rows of a matrix have the same
    weight then, and methods that need counts do not fit.
    """
    texts: Sequence[str | Path] = ()
    """Text files of which tokens are counted, instead of `counts`; only for a model."""
    special_ids: tuple[int, ...] | None = None
    """Rows of special tokens; None means those of a folder's model, and none for a matrix."""
    scores: str | Path | None = None
    """The scores.csv of a study, by which retention is estimated."""
    seed: int = 0
    progress: Callable[[str], None] = lambda message: None
    """Called with a message before each fit."""


@dataclass(frozen=True)
class Ranking:
    """All candidates, the best first and those that do not fit last."""

    candidates: list[Candidate]
    target_ratio: float
    """Dense fp32 bits of the matrix / bits of the size limit."""
    max_megabytes: float
    counts_source: str
    """What the tokens were counted in by whose counts rows are weighted; empty without counts."""
    retention_error: float = math.nan
    """Mean absolute error of the estimated retention in cross-validation, in percentage points."""

    @property
    def best(self) -> Candidate:
        """The first candidate.

        Raises:
            UserError: if no method fits.
        """
        if not self.candidates or not self.candidates[0].fits:
            reasons = "; ".join(f"{c.method}: {c.note}" for c in self.candidates)
            raise UserError(
                f"no method fits into {self.max_megabytes:g} MB ({reasons}): allow more megabytes"
            )
        return self.candidates[0]


def list_candidates() -> list[str]:
    """Names of all methods but the controls, which are references and not of practical use."""
    return [name for name in names() if method_class(name).kind != "control"]


def rank_methods(
    matrix: Tensor | str | Path,
    max_megabytes: float,
    settings: RankingSettings | None = None,
) -> Ranking:
    """Fit methods to a matrix so that each stores at most `max_megabytes`, and rank them by error.

    Each method is fitted at its best: rows are weighted by token counts where the fit can do that,
    and of the precisions of stored factors the one of least error is kept. The order is by relative
    error with rows weighted by token counts, then by size.

    Args:
        matrix: (V, d), or the folder of a transformers model.
        max_megabytes: size limit of the compressed matrix, in 10^6 bytes.
        settings: methods to compare, token counts, and more; None means the defaults.

    Raises:
        UserError: if the limit is not positive or above the dense size, the matrix cannot be
            compressed, a method does not exist, or counts have another number of rows.

    Example:
        >>> import embpress, torch
        >>> matrix = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
        >>> settings = embpress.RankingSettings(methods=["svd", "integer"])
        >>> embpress.rank_methods(matrix, max_megabytes=0.012, settings=settings).best.method
        'integer'
    """
    settings = settings or RankingSettings()
    # All that can be known to fail is checked before tokens are counted and methods are fitted.
    methods = list_candidates() if settings.methods is None else settings.methods
    for name in methods:
        method_class(resolve_name(name))
    retention_error = math.nan
    if settings.scores is not None:
        predict, retention_error = fit_retention_curve(Path(settings.scores))
    rows, context, counts_source = _matrix_and_context(matrix, max_megabytes, settings)
    ratio = _ratio_at(rows.shape, max_megabytes)
    matrix = cast(Tensor, checked_matrix(rows))
    context.check(len(matrix))
    candidates = []
    for name in methods:
        settings.progress(f"fitting {name}")
        candidates.append(_fit_candidate(matrix, name, ratio, context))
    if settings.scores is not None:
        candidates = [
            replace(c, retention=predict(c.weighted_relative_error)) if c.fits else c
            for c in candidates
        ]
    candidates.sort(key=_rank_key)
    return Ranking(candidates, ratio, max_megabytes, counts_source, retention_error)


def _ratio_at(shape: tuple[int, ...], max_megabytes: float) -> float:
    """The ratio at which a dense fp32 matrix takes so many megabytes.

    Raises:
        UserError: if that is no size, or not below the dense one.
    """
    dense_bytes = 4 * math.prod(shape)
    if not 0 < max_megabytes < math.inf:
        raise UserError(f"{max_megabytes:g} MB is not a size: give a number above 0")
    if max_megabytes * MEGABYTE >= dense_bytes:
        raise UserError(
            f"the matrix takes {dense_bytes / MEGABYTE:.3g} MB dense in fp32, within "
            f"{max_megabytes:g} MB: there is nothing to compress, give a smaller size"
        )
    return dense_bytes / (max_megabytes * MEGABYTE)


def _matrix_and_context(
    matrix: Tensor | str | Path, max_megabytes: float, settings: RankingSettings
) -> tuple[Rows, Context, str]:
    """The matrix to compress, the context of all fits, and what its tokens were counted in.

    Raises:
        UserError: if the size is not below the dense one, before tokens are counted.
    """
    rows: Rows
    if isinstance(matrix, Tensor):
        rows = matrix
        if isinstance(settings.counts, (str, Path)):
            raise UserError(
                f"{settings.counts}: counts of a matrix are a tensor, those of a model's folder "
                "may be a file: read the file first"
            )
        context = Context(counts=settings.counts, seed=settings.seed)
        counts_source = "" if settings.counts is None else "the given tensor"
    else:
        dense = open_dense_source(locate_model(matrix), settings.progress)
        _ratio_at(dense.shape, max_megabytes)
        source = dense.count_tokens(
            settings.counts, settings.texts, settings.seed, settings.progress
        )
        rows = source.matrix
        context = source.context
        counts_source = source.counts_source
    if settings.special_ids is not None:
        context = replace(context, special_ids=settings.special_ids)
    return rows, context, counts_source


def _rank_key(candidate: Candidate) -> tuple[bool, float, int, str]:
    """Sorts by error, then size, then name; candidates that do not fit come last."""
    error = candidate.weighted_relative_error if candidate.fits else 0.0
    return not candidate.fits, error, candidate.bytes, candidate.method


def _fit_candidate(matrix: Tensor, name: str, ratio: float, context: Context) -> Candidate:
    """Fit one method at its best; if it cannot be used, the reason is the candidate's note."""
    method = method_class(name)
    # A method that weights rows by counts gives them equal weights without counts.
    weighting = "uniform" if context.counts is None else "counts"
    options = {"weighting": weighting} if method.weighted else {}
    if not method.has_factors:
        return _fit_with(matrix, name, ratio, context, options)
    fits: list[Candidate] = []
    for dtype in DTYPES:
        if dtype != DTYPES[-1] or not any(fit.fits for fit in fits):
            own = options | {"factor_dtype": dtype}
            fits.append(_fit_with(matrix, name, ratio, context, own))
    fitting = [fit for fit in fits if fit.fits]
    return min(fitting, key=_rank_key) if fitting else fits[-1]


def _fit_with(
    matrix: Tensor, name: str, ratio: float, context: Context, options: dict[str, Any]
) -> Candidate:
    """Fit one method with some options; if it cannot be used, the reason is the note."""
    label = method_class(name).label
    try:
        compressed = compress(matrix, name, ratio, context, **options)
    except UserError as reason:
        return Candidate(name, label, note=str(reason))
    n_bytes = compressed.stored_bits // 8
    if compressed.stored_bits * ratio > 32 * matrix.numel() * (1 + ROUNDING):
        return Candidate(name, label, note=f"stores {n_bytes} bytes, more than the size limit")
    counts = context.counts
    # Smoothed counts of 0 are equal weights.
    weights = torch.zeros(len(matrix), dtype=torch.int64) if counts is None else counts
    errors = reconstruction(matrix.float(), compressed, weights)
    return Candidate(
        method=name,
        label=label,
        bytes=n_bytes,
        ratio=compressed.ratio,
        relative_error=errors.relative_error,
        weighted_relative_error=errors.weighted_relative_error,
        mean_cosine=errors.mean_cosine,
        options=options,
    )


def fit_retention_curve(path: Path) -> tuple[Callable[[float], float], float]:
    """Fit retention as a decreasing function of the weighted relative error, by isotonic regression
    over all tasks and models of a study.

    Metrics of a task are averaged first, so that all tasks have the same weight. Controls are left
    out, and models that were trained after compression. The error of the estimate is
    cross-validated over methods: each fold's are predicted from the scores of the others.

    Args:
        path: scores.csv of a study.

    Returns:
        The curve (error to retention in %), and its mean absolute error in percentage points.

    Raises:
        UserError: if the file is not a table of scores, or has too few of them.
    """
    from ..analysis.scores import read_scores

    try:
        frame = read_scores(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a table of scores ({summarize_error(error)}): name the scores.csv of a "
            "study"
        ) from error
    # Controls have no target ratio.
    frame = frame.dropna(subset=["weighted_relative_error", "retention", "target_ratio"])
    frame = frame[~frame["protocol"].isin(STUDENT_PROTOCOLS)]
    fit_keys = ["task", "method", "target_ratio", "seed"]
    frame = frame.groupby(fit_keys, as_index=False)[["weighted_relative_error", "retention"]].mean()
    errors = frame["weighted_relative_error"].to_numpy()
    retentions = frame["retention"].to_numpy()
    methods, method_of_row = np.unique(frame["method"].to_numpy(), return_inverse=True)
    if len(errors) < MIN_SCORES or len(methods) < 2:
        raise UserError(
            f"{path} has {len(errors)} scores of {len(methods)} methods with errors, too few for "
            "an estimate: name the scores.csv of a larger study"
        )
    fold_of_row = method_of_row % min(FOLDS, len(methods))
    differences = []
    for fold in np.unique(fold_of_row):
        is_test = fold_of_row == fold
        predict = _decreasing_curve(errors[~is_test], retentions[~is_test])
        differences.append(np.abs(predict(errors[is_test]) - retentions[is_test]))
    curve = _decreasing_curve(errors, retentions)
    mean_difference = float(np.concatenate(differences).mean())
    return lambda error: float(curve(np.array(error))), mean_difference


def _decreasing_curve(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Decreasing isotonic regression of y on x, both (n,), by linear interpolation."""
    from scipy.optimize import isotonic_regression

    points, position, n_equal = np.unique(x, return_inverse=True, return_counts=True)
    means = np.bincount(position, weights=y) / n_equal
    values = isotonic_regression(means, weights=n_equal, increasing=False).x
    return lambda at: np.interp(at, points, values)
