"""Eigenspace overlap score: how much of a matrix's column space its compressed form keeps.

May et al., NeurIPS 2019 ("On the Downstream Performance of Compressed Word Embeddings"), definition
1: for matrices of V rows with left singular vectors U (V, k) and U~ (V, k~), the score is ||U^T
U~||_F^2 / max(k, k~). It is 1 if linear models on both can represent the same outputs, and 0 if
their column spaces are orthogonal. U is not built: with X = U S Z^T, U^T U~ is S^-1 Z^T (X^T X~) Z~
S~^-1, which follows from the Gram matrix of the concatenated rows [X, X~].
"""

import torch
from torch import Tensor

TOLERANCE = 1e-5
"""Singular values below this share of the largest count as 0: they may be rounding of float32."""


def joint_gram(pairs: Tensor) -> Tensor:
    """Gram matrix (2d, 2d) of original and decoded rows side by side, float64 (n, 2d)."""
    array = pairs.numpy()
    # numpy, unlike torch, computes only half of the symmetric product.
    return torch.from_numpy(array.T @ array)


def eigenspace_overlap(gram: Tensor) -> float:
    """The score from `joint_gram`, summed over row blocks; 0 if either matrix is 0."""
    d = len(gram) // 2
    one = _whitening(gram[:d, :d])
    other = _whitening(gram[d:, d:])
    largest = max(one.shape[1], other.shape[1])
    return float((one.T @ gram[:d, d:] @ other).square().sum()) / largest if largest else 0.0


def _whitening(gram: Tensor) -> Tensor:
    """Z S^-1 (d, k) from Z S^2 Z^T (d, d), without directions that are 0 up to rounding."""
    energies, directions = torch.linalg.eigh(gram)
    kept = energies > (TOLERANCE**2 * energies[-1]).clamp(min=0)
    return directions[:, kept] / energies[kept].sqrt()
