"""Sensitivities of rows between two rules.

Apart from where they are measured: a fit reads them without transformers.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError


def write_sensitivity(found: dict[str, Tensor], path: Path) -> None:
    """Write sensitivities: float32 (V,) tensors by weighting.

    Those of a linear layer's rows as `weighting:layer`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(found, path)


def read_sensitivity(path: Path, n_rows: int, layers: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read sensitivities that `write_sensitivity` wrote: of the embedding's rows, or of some
    layers' one below the other.

    Raises:
        UserError: if there are none, or they are of another number of rows.
    """
    stored = load_file(path)
    weightings = [name for name in stored if ":" not in name]
    try:
        found = {
            w: torch.cat([stored[f"{w}:{layer}"] for layer in layers]) if layers else stored[w]
            for w in weightings
        }
    except KeyError as error:
        raise UserError(f"{path} holds no {error}: measure it anew") from error
    for name, values in found.items():
        if len(values) != n_rows:
            raise UserError(
                f"{path} holds {name} of {len(values)} rows, but the matrix has {n_rows}: measure it anew"
            )
    return found
