"""Rows that onnxruntime decodes are those that torch decodes, and files have the counted size."""

import pytest
import torch

from embpress.formats.row_tiers import RowTiers
from embpress.methods import compress
from embpress.methods._base import Context

# Importing them takes seconds: only one worker does, and none does to collect the tests.
pytestmark = pytest.mark.xdist_group("onnx")

V, D = 211, 48
SLACK = 3_000
"""Bytes beyond the counted bits: the bits of each byte, a rotation that follows from its seed."""
CASES = {
    "int8": ("integer", 3, {"bits": 8}),
    "int8 groups": ("integer", 3, {"bits": 8, "group": 16}),
    "int8 uneven groups": ("integer", 3, {"bits": 8, "group": 20}),
    "int6": ("integer", 3, {"bits": 6}),
    "int5": ("integer", 3, {"bits": 5}),
    "int4": ("integer", 3, {"bits": 4}),
    "int3": ("integer", 3, {"bits": 3}),
    "int1": ("integer", 3, {"bits": 1}),
    "two widths": ("integer", 7, {}),
    "minima": ("grouped_integer", 4, {}),
    "pq": ("pq", 4, {}),
    "opq fp16": ("pq", 4, {"rotation": "opq", "factor_dtype": "float16"}),
    "svd": ("svd", 2, {}),
    "svd int8": ("svd", 4, {"factor_dtype": "int8"}),
    "b21": ("b21", 4, {"epochs": 1}),
    "kronecker": ("kronecker", 3, {}),
    "kronecker int8": ("kronecker", 3, {"factor_dtype": "int8"}),
    "t24": ("t24", 2, {}),
    "t24 fp16": ("t24", 3, {"factor_dtype": "float16"}),
    "prune": ("prune", 3, {}),
    "prune int8": ("prune", 4, {"factor_dtype": "int8"}),
    "signs": ("signs", 8, {}),
    "signs and more": ("signs", 10, {}),
    "identity": ("identity", 1, {}),
    "mean": ("mean", 2, {}),
    "clusters": ("row_clustering", 4, {}),
}


def matrix(d=D):
    torch.manual_seed(0)
    return torch.randn(V, 8) @ torch.randn(8, d) + 0.3 * torch.randn(V, d)


def compressed(case, d=D):
    method, ratio, options = CASES[case]
    counts = 1000 // torch.arange(1, V + 1).flip(0)
    return compress(matrix(d), method, ratio, Context(counts=counts), **options)


def run(built, ids):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        built.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return torch.from_numpy(session.run(None, {"ids": ids.numpy()})[0])


def lookup(case_matrix, contrib=False):
    from embpress.integrations.onnx.lookup import lookup_model

    return lookup_model(case_matrix, contrib)


IDS = torch.tensor([0, 5, 5, V - 1, 17, 100, 1, 2, 3])


@pytest.mark.parametrize("case", CASES)
def test_onnxruntime_decodes_what_torch_decodes(case):
    stored = compressed(case)
    built, n_bytes = lookup(stored)
    torch.testing.assert_close(run(built, IDS), stored.rows(IDS), rtol=1e-5, atol=1e-5)
    every = torch.arange(V)
    torch.testing.assert_close(run(built, every), stored.dense(), rtol=1e-5, atol=1e-5)
    assert n_bytes <= stored.stored_bits / 8 + SLACK, (n_bytes, stored.stored_bits / 8)
    assert {node.domain for node in built.graph.node} == {""}


@pytest.mark.parametrize("case", ["int8", "int4", "int8 groups", "two widths"])
def test_onnxruntimes_own_operator_decodes_the_same(case):
    stored = compressed(case)
    built, n_bytes = lookup(stored, contrib=True)
    torch.testing.assert_close(run(built, IDS), stored.rows(IDS), rtol=1e-5, atol=1e-5)
    assert "GatherBlockQuantized" in {node.op_type for node in built.graph.node}
    assert n_bytes <= stored.stored_bits / 8 + SLACK


@pytest.mark.parametrize("case", ["int5", "int3", "pq", "signs and more", "t24", "svd int8"])
def test_rows_that_end_within_a_byte(case):
    stored = compressed(case, d=43)
    built, _ = lookup(stored)
    torch.testing.assert_close(run(built, IDS), stored.rows(IDS), rtol=1e-5, atol=1e-5)


def test_formats_without_standard_operators_are_known():
    from embpress.integrations.onnx.matrices import is_supported

    assert not is_supported(compress(matrix(), "turboquant", 4, Context()))
    assert all(is_supported(compressed(case)) for case in CASES)


def test_a_case_has_tiers():
    assert isinstance(compressed("two widths"), RowTiers)
    assert isinstance(compressed("signs and more"), RowTiers)
