"""The compressed embedding as the tensor `token_embd.weight` of a GGUF file. Needs `gguf`."""

from pathlib import Path
from typing import Any

import gguf
import torch
from torch import Tensor

from ..errors import UserError
from ..export.exported_model import load
from ..export.manifest import read_manifest
from ..files import partial_file
from ..formats._base import CompressedMatrix
from ..formats.gguf_blocks import BLOCK, GGUFBlocks
from ..numerics import bits
from .integer_codes import TableSummary, signed_codes
from .one_matrix import check_one_matrix

TENSOR = "token_embd.weight"
NAMES = {4: "q4_0", 5: "q5_0", 8: "q8_0"}
"""Block types by the bits of a code."""


def export_gguf(folder: str | Path, file: str | Path) -> TableSummary:
    """Write the embedding of an exported model as a GGUF file with one tensor.

    The values are exactly those of the exported model. Blocks of 32 values have a scale of their
    own in GGUF, which repeats the scale of the row or group. The type is the smallest of Q4_0, Q5_0
    and Q8_0 that holds the codes.

    Raises:
        UserError: if the folder contains no exported model, or its embedding has no integer codes,
            or rows or groups that are no multiple of 32 long.
    """
    file = Path(file)
    manifest = read_manifest(Path(folder))
    model: Any = load(folder)
    check_one_matrix(model.embedding_slot, Path(folder))
    matrix = model.embedding_slot.matrix
    name, blocks = _blocks(matrix)
    partial = partial_file(file)
    try:
        writer = gguf.GGUFWriter(partial, model.config.model_type)
        writer.add_string("embpress.method", manifest["made"]["method"])
        writer.add_float32("embpress.ratio", matrix.ratio)
        kind = gguf.GGMLQuantizationType[name.upper()]
        writer.add_tensor(TENSOR, blocks.contiguous().numpy(), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return TableSummary(file, name.upper(), matrix.shape, blocks.nbytes, matrix.stored_bits // 8)


def _blocks(matrix: CompressedMatrix) -> tuple[str, Tensor]:
    """Block type and bytes (V, bytes of a row) of a matrix."""
    d = matrix.shape[1]
    if d % BLOCK:
        raise UserError(
            f"rows of {d} numbers are no multiple of {BLOCK}, as GGUF requires: use another format"
        )
    if isinstance(matrix, GGUFBlocks):
        return matrix.block_type, matrix.blocks
    codes, scale, group = stored = signed_codes(matrix)
    if group % BLOCK:
        raise UserError(
            f"groups of {group} columns are no multiple of {BLOCK}, the length of GGUF's blocks: "
            "compress with --option group=32"
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
