"""Exported models in the format `pack-quantized` of compressed-tensors.

The package compressed-tensors is not needed to write them. It decompresses embeddings, but
transformers 5.15 fails while it initializes a model with a quantized embedding. A head with a
matrix of its own is written as a layer that is not tied to the embedding.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..export.carried_files import find_carried_files
from ..export.exported_model import CompressedEmbeddingMixin, load
from ..files import atomic_directory, check_writable, output_path, write_json
from ..formats._base import CompressedMatrix
from ..models.embedding import EmbeddingSlot, other_weights
from ..models.pretrained import CONFIG
from .integer_codes import SignedCodes, TableSummary, WrittenTable, signed_codes
from .packing import pack_rows

WEIGHTS = "model.safetensors"


def export_compressed_tensors(folder: str | Path, out: str | Path) -> TableSummary:
    """Write an exported model with integer rows as a folder of compressed-tensors.

    The values are exactly those of the exported model; all other weights are unchanged.

    Raises:
        UserError: if the folder contains no exported model, a matrix has no integer codes, a head
            runs on the embedding's matrix, or `out` exists or cannot be written.
    """
    folder, out = Path(folder), output_path(out)
    if out.exists():
        raise UserError(f"{out} exists: name a folder that does not")
    check_writable(out)
    model: Any = load(folder)
    matrices = _matrices(model.embedding_slot, folder)
    stored = {name: signed_codes(matrix, name) for name, matrix in matrices.items()}
    weights = {k: v.detach().contiguous() for k, v in other_weights(model).items()}
    tables = []
    for name, codes in stored.items():
        packed = _pack(codes)
        # Scales in the type of the weights, in which transformers computes the values.
        scale = codes.scale.to(torch.float16 if model.dtype == torch.float16 else torch.float32)
        weights[f"{name}.weight_packed"] = packed
        weights[f"{name}.weight_scale"] = scale.contiguous()
        shape = matrices[name].shape
        weights[f"{name}.weight_shape"] = torch.tensor(shape)
        kind = f"pack-quantized int{codes.width}"
        n_bytes = packed.nbytes + scale.nbytes
        tables.append(WrittenTable(name, kind, shape, n_bytes, matrices[name].stored_bits // 8))
    if model.embedding_slot.own_head is not None:
        _untie_biases(model, weights)
    with atomic_directory(out) as partial:
        save_file(weights, partial / WEIGHTS, metadata={"format": "pt"})
        config = model.config.to_diff_dict()
        config["architectures"] = [type(model).__name__]
        if model.embedding_slot.own_head is not None:
            config["tie_word_embeddings"] = False
        config["quantization_config"] = _quantization_config(stored)
        write_json(partial / CONFIG, config)
        for file in find_carried_files(folder):
            shutil.copyfile(file, partial / file.name)
    return TableSummary(out, tuple(tables))


def _matrices(slot: EmbeddingSlot, folder: Path) -> dict[str, CompressedMatrix]:
    """The compressed matrices by the names of their layers.

    Raises:
        UserError: if layers share one.
    """
    if slot.own_head is None and slot.heads:
        raise UserError(
            f"{folder}: the head {slot.heads[0]} is tied to the embedding, and compressed-tensors "
            "has no quantized weight that two layers share: compress with --head METHOD@RATIO"
        )
    layers = [(slot.lookups, slot.matrix), (slot.heads, slot.own_head)]
    matrices = {}
    for names, matrix in layers:
        if len(names) > 1:
            raise UserError(
                f"{folder}: {' and '.join(names)} share one matrix, and compressed-tensors has no "
                "quantized weight that two layers share: use another format"
            )
        if matrix is not None:
            matrices[names[0]] = matrix
    return matrices


def _untie_biases(model: CompressedEmbeddingMixin, weights: dict[str, Tensor]) -> None:
    """Add the biases of the heads, which transformers no longer ties to others either."""
    for head in model.embedding_slot.heads:
        bias = model.get_submodule(head).bias
        if isinstance(bias, Tensor) and f"{head}.bias" not in weights:
            weights[f"{head}.bias"] = bias.detach().clone()


def _pack(stored: SignedCodes) -> Tensor:
    """Codes row by row, least bits first, in whole int32 words: (V, words)."""
    width = stored.width
    packed = pack_rows(stored.codes + (1 << (width - 1)), width)
    return torch.nn.functional.pad(packed, (0, -packed.shape[1] % 4)).view(torch.int32)


def _quantization_config(stored: Mapping[str, SignedCodes]) -> dict[str, Any]:
    """The entry of config.json for the codes of some layers."""
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {
            f"group_{i}": _quantization_group(name, codes)
            for i, (name, codes) in enumerate(stored.items())
        },
        "ignore": [],
    }


def _quantization_group(name: str, stored: SignedCodes) -> dict[str, Any]:
    """The group of one layer."""
    is_grouped = stored.scale.shape[1] > 1
    weights = {
        "num_bits": stored.width,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if is_grouped else "channel",
        "group_size": stored.group if is_grouped else None,
        "dynamic": False,
    }
    return {"targets": [f"re:.*{name.replace('.', '[.]')}$"], "weights": weights}
