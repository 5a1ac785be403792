"""A compressed matrix alone as an ONNX model."""

import onnx
from onnx import TensorProto, helper

from ...formats._base import CompressedMatrix
from .graph import Graph
from .matrices import CONTRIB, decode

OPSET = 21
"""The first with DequantizeLinear in blocks."""
IR_VERSION = 10
"""The version of the file format that came with this opset."""


def opset_imports(contrib: bool) -> list[onnx.OperatorSetIdProto]:
    """The operator sets that decoders use."""
    own = [helper.make_opsetid(CONTRIB, 1)] if contrib else []
    return [helper.make_opsetid("", OPSET), *own]


def lookup_model(matrix: CompressedMatrix, contrib: bool = False) -> tuple[onnx.ModelProto, int]:
    """A model from `ids` int64 (n,) to `rows` float32 (n, d), and the bytes of its tensors."""
    graph = Graph(contrib)
    rows = decode(matrix, graph, "ids")
    nodes = [*graph.nodes, helper.make_node("Identity", [rows], ["rows"])]
    inputs = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    outputs = [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", matrix.shape[1]])]
    built = helper.make_model(
        helper.make_graph(nodes, "lookup", inputs, outputs, graph.initializers),
        opset_imports=opset_imports(contrib),
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(built)
    return built, graph.stored_bytes
