"""How near a compressed matrix is to the original: errors over all rows, weighted by corpus counts, by frequency decile."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from .formats.base import ROW_BLOCK, CompressedMatrix
from .frequency import smoothed

DECILES = 10


@dataclass(frozen=True)
class Reconstruction:
    """Errors of one compressed matrix."""

    relative_error: float
    """Frobenius norm of the difference / Frobenius norm of the original."""
    mean_cosine: float
    """Mean over rows of the cosine between original and decoded row."""
    weighted_relative_error: float
    """The same with each row's squared norms weighted by its token's smoothed count."""
    weighted_mean_cosine: float
    """The same mean, weighted by counts."""
    decile_relative_error: list[float]
    """Relative error of each tenth of the rows, the most frequent tokens first."""
    decile_mean_cosine: list[float]
    """Mean cosine of each tenth of the rows."""

    def to_json(self) -> dict[str, float | list[float]]:
        """As plain JSON values."""
        return asdict(self)


def reconstruction(matrix: Tensor, compressed: CompressedMatrix, counts: Tensor) -> Reconstruction:
    """Compare a dense (V, d) matrix with its compressed form, row block by row block; counts: (V,).

    Cosines with a zero row are 0. Rows of equal count keep their order, so that deciles are the same in every run.
    """
    error, energy, cosine = (torch.empty(matrix.shape[0], dtype=torch.float64) for _ in range(3))
    for ids in torch.arange(matrix.shape[0]).split(ROW_BLOCK):
        row, decoded = matrix[ids].double(), compressed.rows(ids).double()
        error[ids] = (row - decoded).square().sum(1)
        energy[ids] = row.square().sum(1)
        cosine[ids] = torch.cosine_similarity(row, decoded, dim=1, eps=1e-12)
    weights = smoothed(counts) / len(counts)
    tenths = counts.argsort(descending=True, stable=True).tensor_split(DECILES)
    return Reconstruction(
        relative_error=_root_ratio(error, energy),
        mean_cosine=float(cosine.mean()),
        weighted_relative_error=_root_ratio(error * weights, energy * weights),
        weighted_mean_cosine=float((cosine * weights).sum()),
        decile_relative_error=[_root_ratio(error[rows], energy[rows]) for rows in tenths],
        decile_mean_cosine=[float(cosine[rows].mean()) if len(rows) else 0.0 for rows in tenths],
    )


def _root_ratio(error: Tensor, energy: Tensor) -> float:
    """sqrt(sum error / sum energy); 0 where there is no energy."""
    total = float(energy.sum())
    return (float(error.sum()) / total) ** 0.5 if total > 0 else 0.0
