"""Checkpoints on disk without building their models.

The card that describes one, and its embedding matrix.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

CARD = "checkpoint.json"
"""File beside a checkpoint.

The name and shape of its embedding, the model's size, its special tokens and its source.
"""


def card(folder: Path) -> dict[str, Any]:
    """The card that `describe` wrote."""
    return json.loads((folder / CARD).read_text())


def embedding_matrix(folder: Path) -> Tensor:
    """The dense (V, d) embedding of a described checkpoint.

    Read straight from its safetensors file.
    """
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        name = card(folder)["embedding"]
        # A head model's state dict carries the base model's prefix, a base model's does not.
        (key,) = [k for k in file.keys() if k == name or name.endswith("." + k)]  # noqa: SIM118
        return file.get_tensor(key)
