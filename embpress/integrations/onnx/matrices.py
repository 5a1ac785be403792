"""Rows of compressed matrices in ONNX, by standard operators: gather the codes, then decode them.

A function per format builds the nodes that decode rows: int64 ids (n,) to float32 (n, d). Packed
streams in which rows do not start on bytes are stored anew, padded to whole bytes per row.
"""

from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor

from ...formats._base import CompressedMatrix, row_block
from ...formats._factors import FactoredMatrix
from ...formats._rotated_rows import RotatedRows
from ...formats.constant import ConstantRows
from ...formats.dense import DenseRows
from ...formats.integer_rows import IntegerRows
from ...formats.kronecker import Kronecker
from ...formats.kronecker_product import KroneckerProduct
from ...formats.low_rank import LowRank
from ...formats.mixture import Mixture
from ...formats.product_codes import ProductCodes
from ...formats.pruned import Pruned
from ...formats.rotated_signs import RotatedSigns
from ...formats.row_tiers import RowTiers
from ...formats.shared_rows import SharedRows
from ...numerics import bits
from ..packing import pack_rows
from .graph import INT64, Graph

CONTRIB = "com.microsoft"
CONTRIB_WIDTHS = (4, 8)
MIN_BLOCK = 16
"""Smallest block of GatherBlockQuantized; larger ones are powers of two."""


@singledispatch
def decode(matrix: CompressedMatrix, graph: Graph, ids: str) -> str:
    """Add the nodes that decode rows of a matrix.

    Args:
        matrix: the compressed (V, d) matrix.
        graph: where nodes and stored tensors are added.
        ids: name of int64 ids (n,).

    Returns:
        Name of the float32 rows (n, d).

    Raises:
        NotImplementedError: if the format has no decoder by standard operators.
    """
    raise NotImplementedError(f"format {matrix.format} has no decoder in ONNX")


def is_supported(matrix: CompressedMatrix) -> bool:
    """Whether `decode` supports the format of a matrix, and those of its tiers."""
    if isinstance(matrix, RowTiers):
        return all(is_supported(part) for part in matrix.matrices())
    if isinstance(matrix, Mixture) and matrix.has_norms:
        return False
    return decode.dispatch(type(matrix)) is not decode.dispatch(CompressedMatrix)


def _scaled(graph: Graph, matrix: FactoredMatrix, name: str, pick: Callable[[str], str]) -> str:
    """Decode a picked part of a factor: the same is picked of values and of scales."""
    values = graph.floats(pick(graph.stored(matrix.get_buffer(name))))
    scale = f"{name}_scale"
    if scale not in dict(matrix.named_buffers()):
        return values
    return graph.add("Mul", values, graph.floats(graph.stored(matrix.get_buffer(scale))))


def factor(graph: Graph, matrix: FactoredMatrix, name: str) -> str:
    """A whole factor in float32."""
    return _scaled(graph, matrix, name, lambda stored: stored)


def factor_rows(graph: Graph, matrix: FactoredMatrix, name: str, ids: str, dim: int = 0) -> str:
    """Positions `ids` of a factor's dimension `dim` in float32; they are gathered first."""
    values = graph.floats(graph.gather(graph.stored(matrix.get_buffer(name)), ids, dim))
    buffers = dict(matrix.named_buffers())
    scale = buffers.get(f"{name}_scale")
    if scale is None:
        return values
    stored = graph.stored(scale)
    if scale.shape[dim] > 1:
        stored = graph.gather(stored, ids, dim)
    return graph.add("Mul", values, graph.floats(stored))


def _rotate_back(graph: Graph, matrix: RotatedRows, rotated: str) -> str:
    """Rows of the rotated space times the rotation, as `Rotation.backward`."""
    rotation = matrix.rotation
    p, q = len(rotation.left), len(rotation.right)
    mixed = graph.add("MatMul", graph.reshape(rotated, -1, p, q), graph.stored(rotation.right))
    mixed = graph.add("MatMul", graph.stored(rotation.left), mixed)
    return graph.add("Mul", graph.reshape(mixed, -1, p * q), graph.stored(rotation.signs))


@decode.register
def _(matrix: DenseRows, graph: Graph, ids: str) -> str:
    return graph.gather(graph.stored(matrix.weight), ids)


@decode.register
def _(matrix: ConstantRows, graph: Graph, ids: str) -> str:
    zeros = graph.add("Mul", ids, graph.ints(0))
    return graph.gather(graph.reshape(graph.stored(matrix.row), 1, -1), zeros)


@decode.register
def _(matrix: LowRank, graph: Graph, ids: str) -> str:
    rows = graph.add(
        "MatMul", factor_rows(graph, matrix, "left", ids), factor(graph, matrix, "right")
    )
    return graph.add("Add", rows, factor(graph, matrix, "bias")) if matrix.has_bias else rows


@decode.register
def _(matrix: Kronecker, graph: Graph, ids: str) -> str:
    a = factor_rows(graph, matrix, "a", ids, dim=1)
    rows = graph.add("Einsum", a, factor(graph, matrix, "b"), equation="rvj,rk->vjk")
    return graph.reshape(rows, -1, matrix.shape[1])


@decode.register
def _(matrix: KroneckerProduct, graph: Graph, ids: str) -> str:
    m = graph.ints(matrix.m)
    a = factor_rows(graph, matrix, "a", graph.add("Div", ids, m), dim=1)
    b = factor_rows(graph, matrix, "b", graph.add("Mod", ids, m), dim=1)
    rows = graph.add("Einsum", a, b, equation="rvj,rvk->vjk")
    return graph.reshape(rows, -1, matrix.shape[1])


@decode.register
def _(matrix: Pruned, graph: Graph, ids: str) -> str:
    is_kept, place = graph.positions(matrix.is_kept, matrix.shape[0])
    position = graph.add("Where", is_kept, place, graph.ints(matrix.n_kept))
    return factor_rows(graph, matrix, "table", graph.gather(position, ids))


@decode.register
def _(matrix: SharedRows, graph: Graph, ids: str) -> str:
    width = bits.width_for(matrix.n_shared)
    in_bytes = graph.gather(graph.stored(pack_rows(matrix.index[:, None], width)), ids)
    index = graph.add("Cast", graph.unpack(in_bytes, width, 1), to=INT64)
    return factor_rows(graph, matrix, "shared", graph.reshape(index, -1))


@decode.register
def _(matrix: Mixture, graph: Graph, ids: str) -> str:
    is_kept, place = graph.positions(matrix.is_kept, matrix.shape[0])
    is_kept, place = graph.gather(is_kept, ids), graph.gather(place, ids)
    # Row i comes after place + 1 kept rows, and so after i - place - 1 mixed ones.
    mixed = graph.add("Sub", graph.add("Sub", ids, place), graph.ints(1))
    n_mixed = matrix.shape[0] - matrix.n_kept
    if not n_mixed:
        return factor_rows(graph, matrix, "kept", place)
    mixed = graph.add("Min", mixed, graph.ints(n_mixed - 1))
    n_values = n_mixed * matrix.neighbours
    index = bits.gather(matrix.index, torch.arange(n_values), matrix.index_width)
    packed = pack_rows(index.view(n_mixed, -1), matrix.index_width)
    in_bytes = graph.gather(graph.stored(packed), mixed)
    index_name = graph.unpack(in_bytes, matrix.index_width, matrix.neighbours)
    neighbours = graph.add("Cast", index_name, to=INT64)
    anchors = factor_rows(graph, matrix, "kept", graph.reshape(neighbours, -1))
    anchors = graph.reshape(anchors, -1, matrix.neighbours, matrix.shape[1])
    weights = factor_rows(graph, matrix, "weight", mixed)
    sums = graph.add("MatMul", graph.reshape(weights, 0, 1, -1), anchors)
    kept = factor_rows(graph, matrix, "kept", graph.add("Max", place, graph.ints(0)))
    return graph.add(
        "Where", graph.reshape(is_kept, -1, 1), kept, graph.reshape(sums, 0, matrix.shape[1])
    )


@decode.register
def _(matrix: ProductCodes, graph: Graph, ids: str) -> str:
    n_subspaces, d = matrix.subspaces, matrix.shape[1]
    codes = graph.unpack(graph.gather(graph.stored(matrix.codes), ids), matrix.width, n_subspaces)
    index = graph.add("Cast", codes, to=INT64)
    index = graph.add("Add", index, graph.ints(*matrix.offset.tolist()))
    columns, n_long = divmod(d, n_subspaces)
    codebook = factor(graph, matrix, "codebook")
    table = graph.reshape(codebook, -1, columns + 1 if n_long else columns)
    if n_long:  # shorter centroids are filled up with a zero
        short = graph.reshape(factor(graph, matrix, "codebook_short"), -1, columns)
        table = graph.add("Concat", table, graph.add("Pad", short, graph.ints(0, 0, 0, 1)), axis=0)
    rows = graph.reshape(graph.gather(table, index), 0, -1)
    if matrix.column is not None:
        rows = graph.gather(rows, graph.stored(matrix.column), axis=1)
    return graph.add("MatMul", rows, factor(graph, matrix, "rotation")) if matrix.rotated else rows


@decode.register
def _(matrix: RotatedSigns, graph: Graph, ids: str) -> str:
    n_rows, n_stages, n_bytes = matrix.codes.shape
    in_bytes = graph.gather(graph.stored(matrix.codes.view(n_rows, -1)), ids)
    codes = graph.reshape(graph.unpack(in_bytes, 1, 8 * n_stages * n_bytes), 0, n_stages, -1)
    signs = graph.add("Sub", graph.add("Mul", codes, graph.number(2)), graph.number(1))
    scale = graph.floats(graph.gather(graph.stored(matrix.scale), ids))
    # (n, 1, K) x (n, K, d)
    total = graph.add("MatMul", graph.reshape(scale, 0, 1, -1), signs)
    total = graph.columns(graph.reshape(total, 0, 8 * n_bytes), matrix.shape[1])
    return _rotate_back(graph, matrix, total)


@decode.register
def _(matrix: RowTiers, graph: Graph, ids: str) -> str:
    tier = bits.gather(matrix.tier, torch.arange(matrix.shape[0]), matrix.tier_width)
    *parts, last = matrix.matrices()
    chosen, rows = [], []
    before_last = ids  # place in the last tier: the rows before that are of no other tier
    for number, part in enumerate(parts):
        is_part, place = graph.positions(bits.pack(tier == number, 1), matrix.shape[0])
        place = graph.gather(place, ids)
        before_last = graph.add("Sub", before_last, graph.add("Add", place, graph.ints(1)))
        chosen.append(graph.reshape(graph.gather(is_part, ids), -1, 1))
        rows.append(decode(part, graph, graph.add("Max", place, graph.ints(0))))
    before_last = graph.add("Min", before_last, graph.ints(matrix.tiers[-1]["rows"] - 1))
    decoded = decode(last, graph, graph.add("Max", before_last, graph.ints(0)))
    for is_part, of_part in zip(chosen, rows):
        decoded = graph.add("Where", is_part, of_part, decoded)
    return decoded


def _codes(matrix: IntegerRows) -> Tensor:
    """All codes: int64 (V, d)."""
    n_rows, d = matrix.shape
    ids = torch.arange(n_rows)[:, None]
    positions = [block * d + torch.arange(d) for block in ids.split(row_block(d))]
    return torch.cat([bits.gather(matrix.codes, block, matrix.width) for block in positions])


@decode.register
def _(matrix: IntegerRows, graph: Graph, ids: str) -> str:
    d, width = matrix.shape[1], matrix.width
    n_groups = matrix.scale.view(matrix.shape[0], -1).shape[1]
    block = d if n_groups == 1 else matrix.group
    on_bytes = d * width % 8 == 0
    if graph.contrib and width in CONTRIB_WIDTHS and matrix.minimum is None and on_bytes:
        size = 1 << (block - 1).bit_length()  # one block may be longer than the row
        if n_groups == 1 or (size == block and size >= MIN_BLOCK):
            return _gather_block_quantized(matrix, graph, ids, max(size, MIN_BLOCK))
    scale = graph.stored(matrix.scale.view(matrix.shape[0], n_groups))
    scale = graph.floats(graph.gather(scale, ids))
    if width == 8 and matrix.minimum is None and d % block == 0 and not graph.feeds_product:
        table = graph.stored((_codes(matrix) - 128).to(torch.int8))
        return _dequantize(graph, graph.gather(table, ids), scale, 0 if n_groups == 1 else block)
    n_rows = matrix.shape[0]
    packed = matrix.codes.view(n_rows, -1) if on_bytes else pack_rows(_codes(matrix), width)
    codes = graph.unpack(graph.gather(graph.stored(packed), ids), width, d)
    levels = graph.add("Sub", codes, graph.number(matrix.centre))
    rows = graph.add("Mul", levels, _over_columns(graph, scale, d, block))
    if matrix.minimum is None:
        return rows
    minimum = graph.stored(matrix.minimum.view(matrix.shape[0], n_groups))
    minimum = graph.floats(graph.gather(minimum, ids))
    return graph.add("Add", rows, _over_columns(graph, minimum, d, block))


def _over_columns(graph: Graph, of_groups: str, d: int, block: int) -> str:
    """Values of groups (n, groups) for each column: (n, d), or (n, 1) where there is one group."""
    if block >= d:
        return of_groups
    return graph.gather(of_groups, graph.stored(torch.arange(d) // block), axis=1)


def _dequantize(graph: Graph, codes: str, scale: str, block: int) -> str:
    """DequantizeLinear of int8 codes (n, d) with a scale per row, or per block of columns."""
    if block:
        return graph.add("DequantizeLinear", codes, scale, axis=1, block_size=block)
    return graph.add("DequantizeLinear", codes, graph.reshape(scale, -1), axis=0)


def _gather_block_quantized(matrix: IntegerRows, graph: Graph, ids: str, block: int) -> str:
    """Onnxruntime's operator for 4 and 8 bits, whose codes are packed as in IntegerRows."""
    n_rows = matrix.shape[0]
    return graph.add(
        "GatherBlockQuantized",
        graph.stored(matrix.codes.view(n_rows, -1)),
        ids,
        graph.floats(graph.stored(matrix.scale.view(n_rows, -1))),
        domain=CONTRIB,
        bits=matrix.width,
        block_size=block,
        gather_axis=0,
        quantize_axis=1,
    )
