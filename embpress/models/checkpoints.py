"""Checkpoints with metadata: a transformers folder plus a JSON file about its embedding.

They are read here without building the model.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

METADATA_FILE = "checkpoint.json"
"""Name and shape of the embedding, number of parameters, special tokens and source of the model."""


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read the metadata that `embedding.write_metadata` wrote."""
    return json.loads((folder / METADATA_FILE).read_text())


def embedding_matrix(folder: Path) -> Tensor:
    """Read the dense (V, d) embedding of a checkpoint with metadata from its safetensors file."""
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        name = read_metadata(folder)["embedding"]
        # The state dict of a model with a head has the base model's prefix, a base model's has not.
        (key,) = [k for k in file.keys() if k == name or name.endswith("." + k)]  # noqa: SIM118
        return file.get_tensor(key)
