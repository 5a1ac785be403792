"""Codes that `bench.codes` measures: those of libraries at their sizes, and all methods."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from embpress.methods import controls, method_class, names

from . import peers

RATIOS = (4.0, 8.0, 10.0, 16.0, 25.0)
FIXED = "fixed size"
"""Block of the codes that have one size."""
OF_FLOATS = (
    "product_quantization",
    "quotient_remainder",
    "row_clustering",
    "row_hashing",
    "tensor_train",
)
"""Methods whose factors are measured in fp16, as they are stored in use."""
OPTIONS: dict[str, dict[str, Any]] = {name: {"factor_dtype": "float16"} for name in OF_FLOATS}
"""Options of methods that are found by scanning."""
OF_ONE_SIZE = ("gguf", "grouped_integer", "normal_float")
"""Methods that are measured at their own sizes alone."""

Peer = Callable[[np.ndarray], np.ndarray]
"""An independent implementation: a matrix to its decoded values."""


@dataclass(frozen=True)
class Code:
    """A method with its options, and the ratios at which it is measured."""

    label: str
    method: str
    options: dict[str, Any] = field(default_factory=dict)
    ratios: tuple[float, ...] = RATIOS
    block: str = ""
    """Block of the table; empty for the blocks of its ratios."""
    peer: Peer | None = None


def fixed(label: str, method: str, ratio: float, peer: Peer | None = None, **options: Any) -> Code:
    """A code of one size, which reaches this ratio."""
    return Code(label, method, options, (ratio,), FIXED, peer)


def codes() -> dict[str, Code]:
    """All codes by their labels: of one size, all methods found by scanning, and variants."""
    of_one_size = [
        fixed("int8 rows", "integer", 3.9, bits=8),
        fixed("GGUF Q8_0", "gguf", 3.7, partial(peers.of_gguf, name="Q8_0"), type="q8_0"),
        fixed("GGUF Q5_0", "gguf", 5.8, partial(peers.of_gguf, name="Q5_0"), type="q5_0"),
        fixed(
            "int4, groups of 32, affine (MLX)",
            "grouped_integer",
            6.4,
            partial(peers.of_mlx, bits=4, group=32),
            bits=4,
            group=32,
        ),
        fixed("GGUF Q4_0", "gguf", 7.1, partial(peers.of_gguf, name="Q4_0"), type="q4_0"),
        fixed(
            "int4, groups of 64, affine (MLX)",
            "grouped_integer",
            7.1,
            partial(peers.of_mlx, bits=4, group=64),
            bits=4,
        ),
        fixed(
            "int4, groups of 32, symmetric (torchao)",
            "grouped_integer",
            7.1,
            partial(peers.of_torchao, bits=4, group=32),
            bits=4,
            group=32,
            scheme="symmetric",
        ),
        fixed("NF4, groups of 64", "normal_float", 7.1, partial(peers.of_bitsandbytes, group=64)),
        fixed("frequency tiers", "frequency_tiers", 7.11),
        fixed("ECTCQ (ours)", "entropy_coded_trellis", 7.11),
        fixed(
            "int4, groups of 64, symmetric (torchao)",
            "grouped_integer",
            7.5,
            partial(peers.of_torchao, bits=4, group=64),
            bits=4,
            scheme="symmetric",
        ),
        fixed("int4 rows", "integer", 7.9, bits=4),
    ]
    scanned = [
        Code(method_class(name).label, name, OPTIONS.get(name, {}))
        for name in names()
        if name not in OF_ONE_SIZE and name not in controls()
    ]
    scanned += [
        Code("ECTCQ without counts", "entropy_coded_trellis", {"weighting": "uniform"}),
        Code("ECTCQ, no basis", "entropy_coded_trellis", {"basis": "none"}),
        Code("ECTCQ, no trellis", "entropy_coded_trellis", {"quantizer": "scalar"}),
        Code("group residual VQ", "carvq", {"adaptor": False}),
        Code("TurboQuant, counts", "turboquant", {"weighting": "counts"}),
        Code(
            "k-means over rows, counts",
            "row_clustering",
            {"factor_dtype": "float16", "weighting": "counts"},
        ),
    ]
    return {
        f"{code.label}{', ' + FIXED if code.block else ''}": code for code in of_one_size + scanned
    }
