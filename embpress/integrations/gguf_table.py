"""Compressed matrices of a model as tensors of a GGUF file. Needs `gguf`.

The tensors are called as llama.cpp calls them: `token_embd.weight` is the input embedding,
`output.weight` a head with a matrix of its own.
"""

from pathlib import Path
from typing import Any

import gguf
import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import UserError
from ..export.exported_model import load
from ..export.manifest import read_manifest
from ..files import output_file, partial_file
from ..formats._base import CompressedMatrix
from ..formats.gguf_blocks import BLOCK, GGUFBlocks
from ..numerics import bits
from .integer_codes import TableSummary, WrittenTable, signed_codes

EMBEDDING = "token_embd"
HEAD = "output"
MAX_NAME = 63
"""Most bytes of a tensor's name."""
NAMES = {4: "q4_0", 5: "q5_0", 8: "q8_0"}
"""Block types by the bits of a code."""


def export_gguf(folder: str | Path, file: str | Path) -> TableSummary:
    """Write the compressed matrices of an exported model as tensors of a GGUF file.

    The values are exactly those of the exported model. Blocks of 32 values have a scale of their
    own in GGUF, which repeats the scale of the row or group. The type is the smallest of Q4_0, Q5_0
    and Q8_0 that holds the codes. A table for which GGUF has no name keeps that of its layer.

    Raises:
        UserError: if the file cannot be written, the folder contains no exported model, or a matrix
            has no integer codes, or rows or groups that are no multiple of 32 long, or a name that
            is too long.
    """
    file = output_file(file)
    manifest = read_manifest(Path(folder))
    model: Any = load(folder)
    slot = model.embedding_slot
    matrices = {_tensor_name(model, slot.table): (slot.lookups[0], slot.matrix)}
    if slot.own_head is not None:
        matrices[f"{HEAD}.weight"] = (slot.heads[0], slot.own_head)
    blocks = {name: _blocks(matrix, layer) for name, (layer, matrix) in matrices.items()}
    partial = partial_file(file)
    try:
        writer = gguf.GGUFWriter(partial, model.config.model_type)
        writer.add_string("embpress.method", manifest["made"]["method"])
        writer.add_float32("embpress.ratio", slot.matrix.ratio)
        for name, (kind, rows) in blocks.items():
            raw_dtype = gguf.GGMLQuantizationType[kind.upper()]
            writer.add_tensor(name, rows.contiguous().numpy(), raw_dtype=raw_dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    tables = [
        WrittenTable(
            name, kind.upper(), slot.shape, rows.nbytes, matrices[name][1].stored_bits // 8
        )
        for name, (kind, rows) in blocks.items()
    ]
    return TableSummary(file, tuple(tables))


def _tensor_name(model: PreTrainedModel, table: str | None) -> str:
    """Name of the tensor of a table; None means the input embedding.

    Raises:
        UserError: if the name is too long for GGUF.
    """
    if table is None:
        return f"{EMBEDDING}.weight"
    layer = table.removesuffix(".weight")
    without_prefix = layer.removeprefix(f"{model.base_model_prefix}.")
    maps = gguf.TensorNameMap
    name = layer
    for tensor, layers in [*maps.mappings_cfg.items(), *maps.block_mappings_cfg.items()]:
        if layer in layers or without_prefix in layers:
            name = gguf.TENSOR_NAMES[tensor]
            break
    if len(f"{name}.weight".encode()) > MAX_NAME:
        raise UserError(
            f"the name {name}.weight is longer than the {MAX_NAME} bytes that GGUF allows: use "
            "another format"
        )
    return f"{name}.weight"


def _blocks(matrix: CompressedMatrix, layer: str) -> tuple[str, Tensor]:
    """Block type and bytes (V, bytes of a row) of the matrix of a layer."""
    d = matrix.shape[1]
    if d % BLOCK:
        raise UserError(
            f"{layer} has rows of {d} numbers, which are no multiple of {BLOCK}, as GGUF requires: "
            "use another format"
        )
    if isinstance(matrix, GGUFBlocks):
        return matrix.block_type, matrix.blocks
    codes, scale, group = stored = signed_codes(matrix, layer)
    if group % BLOCK:
        raise UserError(
            f"{layer} has groups of {group} columns, no multiple of {BLOCK}, the length of GGUF's "
            "blocks: compress with --option group=32"
        )
    width = next(width for width in NAMES if width >= stored.width)
    values = codes.unflatten(1, (-1, BLOCK))
    scales = scale.repeat_interleave(group // BLOCK, dim=1)[:, : d // BLOCK, None].contiguous()
    return NAMES[width], torch.cat([scales.view(torch.uint8), _pack(values, width)], 2).flatten(1)


def _pack(values: Tensor, width: int) -> Tensor:
    """Codes of blocks (V, blocks, 32) as `GGUFBlocks` stores them: uint8 (V, blocks, bytes)."""
    if width == 8:
        return values.to(torch.int8).view(torch.uint8)
    codes = (values + (1 << (width - 1))).to(torch.uint8)
    low, high = (codes & 15).chunk(2, dim=2)
    packed = low | high << 4
    if width == 4:
        return packed
    fifth = bits.pack(codes >> 4, 1).view(*codes.shape[:2], BLOCK // 8)
    return torch.cat([fifth, packed], dim=2)
