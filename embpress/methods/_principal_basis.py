"""The basis of the format `entropy_coded`: principal axes, rounded to a few bits."""

import scipy.linalg
import torch
from torch import Tensor

from ..formats._base import row_block
from ..formats.entropy_coded import EntropyCoded, unit_columns
from ..numerics import bits as packing
from ..numerics.memory import malloc_trim


def fill_basis(covariance: Tensor, compressed: EntropyCoded) -> tuple[Tensor, Tensor | None]:
    """Store the principal axes of rows, if the format has a basis.

    Args:
        covariance: float64 (d, d), of the rows.
        compressed: the matrix whose basis is filled.

    Returns:
        float64 (d,), variances of the coordinates of rows; and float32 (d, d), the inverse of the
        rounded basis, by which coordinates are taken. None without a basis.
    """
    width = compressed.basis_bits
    if not width:
        return covariance.diagonal().clamp_min(0), None
    d = len(covariance)
    compressed.basis.copy_(_packed_axes(covariance, width))
    malloc_trim()
    columns = unit_columns(compressed.basis, d, width).double().numpy()
    # The transpose has LAPACK's memory layout and is inverted in place. Without assume_a SciPy
    # 1.17 crashes on a diagonal matrix that it may overwrite.
    inverse = torch.from_numpy(
        scipy.linalg.inv(columns.T, overwrite_a=True, check_finite=False, assume_a="general").T
    )
    variance = (inverse @ covariance).mul_(inverse).sum(1).clamp_min(0)
    return variance, inverse.float()


def _packed_axes(covariance: Tensor, basis_bits: int) -> Tensor:
    """Principal axes of falling variance as packed integers that use each column's range."""
    vectors = torch.linalg.eigh(covariance).eigenvectors
    top = 2 ** (basis_bits - 1) - 1
    largest = torch.maximum(vectors.amax(0), -vectors.amin(0))
    codes = [
        (rows / largest * top).round_().add_(top + 1).int().flip(1)
        for rows in vectors.split(row_block(len(vectors)))
    ]
    return packing.pack(torch.cat(codes), basis_bits)
