"""Figures of a study: each function turns tables into a matplotlib figure."""

from .ablations import ablation_bars
from .errors import error_by_decile, error_vs_ratio
from .learning import learning_curves
from .pareto import pareto
from .predictors import score_vs_predictors
from .protocols import retention_by_protocol
from .retention import (
    error_vs_score,
    retention_by_ratio,
    retention_of_task,
)
from .spectra import spectra
from .speed import latency_vs_size
from .whole_models import retention_of_layers

__all__ = [
    "ablation_bars",
    "error_by_decile",
    "error_vs_ratio",
    "error_vs_score",
    "latency_vs_size",
    "learning_curves",
    "pareto",
    "retention_by_protocol",
    "retention_by_ratio",
    "retention_of_task",
    "retention_of_layers",
    "score_vs_predictors",
    "spectra",
]
