"""Sensitivities of rows between two rules. Apart from where they are measured: a fit reads them without transformers."""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import UserError


def write_sensitivity(found: dict[str, Tensor], path: Path) -> None:
    """Write sensitivities, a float32 (V,) tensor each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(found, path)


def read_sensitivity(path: Path, n_rows: int) -> dict[str, Tensor]:
    """Read sensitivities that `write_sensitivity` wrote.

    Raises:
        UserError: if they are of another number of rows.
    """
    found = load_file(path)
    for name, values in found.items():
        if len(values) != n_rows:
            raise UserError(f"{path} holds {name} of {len(values)} rows, but the matrix has {n_rows}: measure it anew")
    return found
