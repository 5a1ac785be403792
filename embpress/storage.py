"""Compressed matrices on disk: one safetensors file of the stored tensors, one JSON file that says what they are."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from .errors import UserError
from .files import write_json
from .formats import formats
from .formats.base import CompressedMatrix

FORMAT_VERSION = 1
TENSORS, HEADER = "matrix.safetensors", "matrix.json"


def save(matrix: CompressedMatrix, folder: Path, about: dict[str, Any] | None = None) -> None:
    """Write a compressed matrix. `about` is free JSON (method, options, ...) kept in the header for people to read."""
    folder.mkdir(parents=True, exist_ok=True)
    # `format: pt` is what transformers and the hub expect of a safetensors file.
    save_file({k: t.contiguous() for k, t in matrix.state_dict().items()}, folder / TENSORS, metadata={"format": "pt"})
    header = {
        "embpress": FORMAT_VERSION,
        "format": matrix.format,
        "shape": list(matrix.shape),
        "config": matrix.config(),
        "stored_bits": matrix.stored_bits,
        "about": about or {},
    }
    write_json(folder / HEADER, header)


def load(folder: Path) -> CompressedMatrix:
    """Read a compressed matrix back, exactly.

    Raises:
        UserError: if the folder holds no artefact, or one that is truncated, altered or of a newer version.
    """
    try:
        header = json.loads((folder / HEADER).read_text())
        kind = formats()[header["format"]]
        version, (n_rows, d), config = header["embpress"], header["shape"], header["config"]
        if version > FORMAT_VERSION:
            raise UserError(f"{folder} is of version {version}, but this embpress reads up to {FORMAT_VERSION}: update it")
        matrix = kind((n_rows, d), **config)
        matrix.load_state_dict(load_file(folder / TENSORS))
    except FileNotFoundError as error:
        raise UserError(f"{folder} holds no compressed matrix: {error.filename} is missing") from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{folder} is not a whole compressed matrix ({reason}): compress it again") from error
    matrix.prepare()
    return matrix.eval()
