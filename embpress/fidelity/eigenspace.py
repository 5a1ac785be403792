"""The eigenspace overlap score: how much of a matrix's column space a compressed one keeps.

May et al., NeurIPS 2019 ("On the Downstream Performance of Compressed Word Embeddings"), definition
1: for matrices of V rows with left singular vectors U (V, k) and U~ (V, k~), the score is ||U^T
U~||_F^2 / max(k, k~): 1 if a linear model can read the same from both, 0 if their spaces are
orthogonal. No U is ever built: with X = U S Z^T, U^T U~ is S^-1 Z^T (X^T X~) Z~ S~^-1, and all of
that is in the Gram matrix of the rows side by side.
"""

import torch
from torch import Tensor

TOLERANCE = 1e-5
"""Smallest singular value, relative to the largest, that counts.

Above the rounding of decoded float32 rows.
"""


def joint_gram(rows: Tensor, decoded: Tensor, weights: Tensor | None = None) -> Tensor:
    """Gram matrix of original and decoded rows side by side, of rows times sqrt(w) if weighted.

    Float64 (2d, 2d).
    """
    both = torch.cat([rows, decoded], 1).double()
    if weights is not None:
        both *= weights.double().sqrt()[:, None]
    array = both.numpy()
    # numpy, unlike torch, sees that the product is symmetric and computes half of it.
    return torch.from_numpy(array.T @ array)


def eigenspace_overlap(gram: Tensor) -> float:
    """The score of the two matrices whose `joint_gram`, summed over row blocks, this is.

    0 if either is all zero.
    """
    d = len(gram) // 2
    one = _whitening(gram[:d, :d])
    other = _whitening(gram[d:, d:])
    largest = max(one.shape[1], other.shape[1])
    return float((one.T @ gram[:d, d:] @ other).square().sum()) / largest if largest else 0.0


def _whitening(gram: Tensor) -> Tensor:
    """Z S^-1 (d, k) out of Z S^2 Z^T, without the directions that are zero up to rounding."""
    energies, directions = torch.linalg.eigh(gram)
    kept = energies > (TOLERANCE**2 * energies[-1]).clamp(min=0)
    return directions[:, kept] / energies[kept].sqrt()
