"""Build ONNX subgraphs: nodes and stored tensors with unique names."""

from hashlib import sha256
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from ...formats._gathering import values_of_bytes

PREFIX = "embpress"
FLOAT = TensorProto.FLOAT
INT32 = TensorProto.INT32
INT64 = TensorProto.INT64


class Graph:
    """Nodes and initializers of a subgraph, which are added to a model later.

    Values are named by strings. Tensors that are only a conversion of a stored one, such as float32
    scales, are nodes: onnxruntime computes them once, when it loads the file.

    Attributes:
        contrib: whether operators of onnxruntime's domain com.microsoft may be used.
        feeds_product: whether rows are decoded for a matrix product. DequantizeLinear must not be
            used then: onnxruntime fuses it with MatMul, and rounds the vectors to 8 bits too.
    """

    def __init__(self, contrib: bool = False) -> None:
        self.contrib = contrib
        self.feeds_product = False
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names: dict[bytes, str] = {}

    def add(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output and return the name of the output."""
        output = f"{PREFIX}/{op}_{len(self.nodes)}"
        node = helper.make_node(op, list(inputs), [output], output, domain=domain, **attributes)
        self.nodes.append(node)
        return output

    def stored(self, tensor: Tensor) -> str:
        """Store a tensor, equal ones once only, and return its name."""
        array = tensor.detach().cpu().contiguous().numpy()
        digest = sha256(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
        name = f"{PREFIX}/stored_{len(self.initializers)}"
        if self._names.setdefault(digest.digest(), name) == name:
            self.initializers.append(numpy_helper.from_array(array, name))
        return self._names[digest.digest()]

    def ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self._constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> str:
        """A constant float32 scalar."""
        return self._constant(np.array(value, dtype=np.float32))

    def _constant(self, array: np.ndarray) -> str:
        return self.add("Constant", value=numpy_helper.from_array(array))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all stored tensors."""
        return sum(len(tensor.raw_data) for tensor in self.initializers)

    # Short forms of single nodes.

    def floats(self, x: str) -> str:
        """Convert to float32."""
        return self.add("Cast", x, to=FLOAT)

    def gather(self, table: str, ids: str, axis: int = 0) -> str:
        """Entries of a table at these positions of an axis."""
        return self.add("Gather", table, ids, axis=axis)

    def reshape(self, x: str, *shape: int) -> str:
        """Reshape; -1 is the size that is left, 0 keeps that of the input."""
        return self.add("Reshape", x, self.ints(*shape))

    def columns(self, x: str, stop: int, axis: int = 1) -> str:
        """The first entries of an axis."""
        return self.add("Slice", x, self.ints(0), self.ints(stop), self.ints(axis))

    def unpack(self, in_bytes: str, width: int, count: int) -> str:
        """Codes of `width` bits of rows that start on bytes, as `bits.pack_rows` packs them.

        Args:
            in_bytes: uint8 (n, bytes).
            width: bits of a code, up to 24.
            count: codes of a row.

        Returns:
            float32 (n, count).
        """
        if 8 % width == 0:
            codes = self._values_of_bytes(in_bytes, width)
        else:
            # value j = sum_k 2^k bit[j width + k]
            bits = self.columns(self._values_of_bytes(in_bytes, 1), count * width)
            powers = self.stored(2.0 ** torch.arange(width, dtype=torch.float32))
            codes = self.add("MatMul", self.reshape(bits, 0, count, width), powers)
        return self.columns(codes, count)

    def _values_of_bytes(self, in_bytes: str, width: int) -> str:
        """The codes in bytes (n, m): float32 (n, 8 m / width)."""
        table = self.floats(self.stored(values_of_bytes(width).to(torch.uint8)))
        index = self.add("Cast", in_bytes, to=INT32)
        return self.reshape(self.gather(table, index), 0, -1)

    def positions(self, bitmap: Tensor, n_rows: int) -> tuple[str, str]:
        """For each row whether its bit is set: bool (V,), and its place among such rows, (V,).

        The places of other rows are those of the last row before with a bit, or -1. onnxruntime
        computes both once, when it loads the file.
        """
        bits = self.unpack(self.stored(bitmap[None]), 1, n_rows)
        number = self.add("Cast", self.reshape(bits, -1), to=INT64)
        is_set = self.add("Equal", number, self.ints(1))
        place = self.add("CumSum", number, self.add("Squeeze", self.ints(0)))
        return is_set, self.add("Sub", place, self.ints(1))
