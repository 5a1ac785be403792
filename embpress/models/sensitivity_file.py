"""Files of row sensitivities, which one rule computes and a fit reads without transformers."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError


def write_sensitivity(sensitivities: dict[str, Tensor], path: Path) -> None:
    """Write float32 (V,) sensitivities by the names of `sensitivity.compute_sensitivities`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(sensitivities, path)


def read_sensitivity(path: Path, n_rows: int, layers: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read the sensitivities of a matrix's rows by weighting: float32 (n_rows,).

    Args:
        path: a file of `write_sensitivity`.
        n_rows: number of rows of the matrix.
        layers: the linear layers whose weights are stacked in the matrix; none for the embedding.

    Raises:
        UserError: if the file lacks a layer, or has another number of rows.
    """
    stored = load_file(path)
    weightings = [name for name in stored if ":" not in name]
    try:
        sensitivities = {
            w: torch.cat([stored[f"{w}:{layer}"] for layer in layers]) if layers else stored[w]
            for w in weightings
        }
    except KeyError as error:
        raise UserError(f"{path} has no sensitivities {error}: compute them again") from error
    for name, values in sensitivities.items():
        if len(values) != n_rows:
            raise UserError(
                f"{path} has {name} of {len(values)} rows, but the matrix has {n_rows}: "
                "compute it again"
            )
    return sensitivities
