"""Exported models in the format `pack-quantized` of compressed-tensors.

The package compressed-tensors is not needed to write them. It decompresses embeddings, but
transformers 5.15 fails while it initializes a model with a quantized embedding.
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UserError
from ..export.carried_files import find_carried_files
from ..export.exported_model import load
from ..files import atomic_directory, write_json
from ..models.embedding import other_weights
from ..models.pretrained import CONFIG
from .integer_codes import SignedCodes, TableSummary, signed_codes
from .one_matrix import check_one_matrix
from .packing import pack_rows

WEIGHTS = "model.safetensors"


def export_compressed_tensors(folder: str | Path, out: str | Path) -> TableSummary:
    """Write an exported model with integer rows as a folder of compressed-tensors.

    The values are exactly those of the exported model; all other weights are unchanged.

    Raises:
        UserError: if the folder contains no exported model, its embedding has no integer codes, its
            head is tied to the embedding, or `out` exists.
    """
    folder, out = Path(folder), Path(out)
    if out.exists():
        raise UserError(f"{out} exists: name a folder that does not")
    model: Any = load(folder)
    slot = model.embedding_slot
    check_one_matrix(slot, folder)
    if slot.heads:
        raise UserError(
            f"{folder}: the head {slot.heads[0]} is tied to the embedding, which "
            "compressed-tensors does not support: use another format"
        )
    (name,) = slot.lookups
    stored = signed_codes(slot.matrix)
    packed = _pack(stored)
    # Scales in the type of the weights, in which transformers computes the values.
    scale = stored.scale.to(torch.float16 if model.dtype == torch.float16 else torch.float32)
    weights = {k: v.detach().contiguous() for k, v in other_weights(model).items()}
    weights[f"{name}.weight_packed"] = packed
    weights[f"{name}.weight_scale"] = scale.contiguous()
    weights[f"{name}.weight_shape"] = torch.tensor(slot.shape)
    with atomic_directory(out) as partial:
        save_file(weights, partial / WEIGHTS, metadata={"format": "pt"})
        config = model.config.to_diff_dict()
        config["architectures"] = [type(model).__name__]
        config["quantization_config"] = _quantization_config(name, stored)
        write_json(partial / CONFIG, config)
        for file in find_carried_files(folder):
            shutil.copyfile(file, partial / file.name)
    n_bytes = packed.nbytes + scale.nbytes
    return TableSummary(
        out, f"pack-quantized int{stored.width}", slot.shape, n_bytes, slot.matrix.stored_bits // 8
    )


def _pack(stored: SignedCodes) -> Tensor:
    """Codes row by row, least bits first, in whole int32 words: (V, words)."""
    width = stored.width
    packed = pack_rows(stored.codes + (1 << (width - 1)), width)
    return torch.nn.functional.pad(packed, (0, -packed.shape[1] % 4)).view(torch.int32)


def _quantization_config(name: str, stored: SignedCodes) -> dict[str, Any]:
    """The entry of config.json."""
    is_grouped = stored.scale.shape[1] > 1
    weights = {
        "num_bits": stored.width,
        "type": "int",
        "symmetric": True,
        "strategy": "group" if is_grouped else "channel",
        "group_size": stored.group if is_grouped else None,
        "dynamic": False,
    }
    group = {"targets": [f"re:.*{name.replace('.', '[.]')}$"], "weights": weights}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": [],
    }
