"""Independent implementations of codes that libraries have: a matrix to its decoded values.

GGUF's are those of the package `gguf`; the others are written in float64 from the libraries'
formulas, and share no line with the methods.
"""

import gguf
import numpy as np
from scipy.stats import norm


def of_gguf(matrix: np.ndarray, name: str) -> np.ndarray:
    """Blocks of a GGUF type, by the package `gguf`."""
    kind = gguf.GGMLQuantizationType[name]
    return gguf.quants.dequantize(gguf.quants.quantize(matrix, kind), kind)


def of_mlx(matrix: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Affine integers in groups, by the formulas of MLX's `quantize`, with fp16 scales."""
    values = matrix.astype(np.float64).reshape(-1, group)
    low = values.min(1, keepdims=True)
    high = values.max(1, keepdims=True)
    sign = np.where(np.abs(low) > np.abs(high), 1, -1)
    edge = np.where(sign > 0, low, high)
    scale = sign * np.maximum((high - low) / (2**bits - 1), 1e-7)
    steps = np.rint(edge / scale)
    scale = np.where(steps != 0, edge / np.where(steps != 0, steps, 1), scale)
    bias = np.where(steps != 0, edge, 0)
    codes = np.rint((values - bias) / scale).clip(0, 2**bits - 1)
    stored = (part.astype(np.float16).astype(np.float64) for part in (scale, bias))
    return (codes * next(stored) + next(stored)).reshape(matrix.shape)


def of_torchao(matrix: np.ndarray, bits: int, group: int) -> np.ndarray:
    """Symmetric integers in groups, by the formulas of torchao, with fp16 scales."""
    values = matrix.astype(np.float64).reshape(-1, group)
    half = 2 ** (bits - 1)
    scale = np.abs(values).max(1, keepdims=True) / (half - 0.5)
    scale = np.maximum(scale, np.finfo(np.float32).eps).astype(np.float16).astype(np.float64)
    return (np.rint(values / scale).clip(-half, half - 1) * scale).reshape(matrix.shape)


def of_bitsandbytes(matrix: np.ndarray, group: int) -> np.ndarray:
    """NF4 with float32 scales, its levels computed as quantiles (bitsandbytes' definition)."""
    offset = 0.9677083
    positive = norm.ppf(np.linspace(offset, 0.5, 9)[:-1])
    negative = -norm.ppf(np.linspace(offset, 0.5, 8)[:-1])
    levels = np.sort(np.concatenate([positive, [0.0], negative]))
    levels /= levels.max()
    values = matrix.astype(np.float64).reshape(-1, group)
    scale = np.abs(values).max(1, keepdims=True)
    codes = np.searchsorted((levels[1:] + levels[:-1]) / 2, values / np.where(scale > 0, scale, 1))
    return (scale * levels[codes]).reshape(matrix.shape)
