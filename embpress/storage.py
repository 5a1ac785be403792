"""Compressed matrices on disk.

One safetensors file of the stored tensors, one JSON file that says what they are.
"""

import math
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from .errors import UserError
from .files import first_line, read_json, write_json
from .formats import format_class
from .formats._base import CompressedMatrix

FORMAT_VERSION = 1
TENSORS = "matrix.safetensors"
HEADER = "matrix.json"
LARGEST_SHAPE = 1 << 48
"""Entries of a dense matrix beyond which a shape is taken for a broken one."""
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def save(matrix: CompressedMatrix, folder: str | Path, about: dict[str, Any] | None = None) -> None:
    """Write a compressed matrix. `about` is free JSON (method, options, ...) kept in the header for
    people to read.

    Raises:
        UserError: if its tensors are no longer of the types that its layout stores.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # `format: pt` is what transformers and the hub expect of a safetensors file.
    save_file(
        {k: t.contiguous() for k, t in matrix.state_dict().items()},
        folder / TENSORS,
        metadata={"format": "pt"},
    )
    header: dict[str, Any] = {
        "embpress": FORMAT_VERSION,
        "format": matrix.format,
        "shape": list(matrix.shape),
        "config": matrix.config(),
        "stored_bits": matrix.stored_bits,
        "about": about or {},
    }
    try:
        _check_tensors(type(matrix), matrix.shape, header["config"], folder / TENSORS)
    except ValueError as error:  # such as after model.half(), which casts what is stored too
        raise UserError(
            f"the compressed matrix was changed after loading ({error}): load it anew to save it"
        ) from error
    write_json(folder / HEADER, header)


def load(folder: str | Path) -> CompressedMatrix:
    """Read a compressed matrix back, exactly. Shapes and types are checked before anything is
    allocated.

    Raises:
        UserError: if the folder holds no artefact, or one that is truncated, altered or of a newer
            version.
    """
    folder = Path(folder)
    try:
        header = read_json(folder / HEADER)
        kind, shape, config = _checked_header(header, folder)
        _check_tensors(kind, shape, config, folder / TENSORS)
        matrix = kind(shape, **config)
        matrix.load_state_dict(load_file(folder / TENSORS))
        if header["stored_bits"] != matrix.stored_bits:
            raise ValueError(
                f"it says {header['stored_bits']} bits, but holds {matrix.stored_bits}"
            )
        matrix.prepare()
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no compressed matrix: {error.filename or TENSORS} is missing"
        ) from error
    except (LookupError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
        raise UserError(
            f"{folder} is not a whole compressed matrix ({first_line(error)}): compress it again"
        ) from error
    return matrix.eval()


def tensor_table(path: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and safetensors' name of the type of each tensor of a file, from its header alone.

    Raises:
        SafetensorError: if the file is cut, or its header points beyond it.
    """
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}


def header_bytes(path: Path) -> int:
    """Bytes of a safetensors file that are no tensor: its length field and its header."""
    with path.open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


def _checked_header(
    header: dict[str, Any], folder: Path
) -> tuple[type[CompressedMatrix], tuple[int, int], dict[str, Any]]:
    """Layout, shape and constructor arguments that a header names."""
    version, name, shape, config = (header[k] for k in ("embpress", "format", "shape", "config"))
    check_version(version, FORMAT_VERSION, folder)
    kind = format_class(name)
    whole = (
        isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)
    )
    if not whole or math.prod(shape) > LARGEST_SHAPE:
        raise ValueError(f"shape {shape!r} is not that of a matrix")
    if not isinstance(config, dict):
        raise ValueError("config is no JSON object")
    return kind, (shape[0], shape[1]), config


def check_version(version: Any, known: int, folder: Path) -> None:
    """Refuse what this code cannot read.

    Raises:
        ValueError: if it is no version.
        UserError: if it is a newer one.
    """
    if type(version) is not int or version < 1:
        raise ValueError(f"version {version!r} is none")
    if version > known:
        raise UserError(
            f"{folder} is of version {version}, but this embpress reads up to {known}: update it"
        )


def _check_tensors(
    kind: type[CompressedMatrix], shape: tuple[int, int], config: dict[str, Any], path: Path
) -> None:
    """Compare the tensors that a file's header lists with those that the layout wants; nothing is
    allocated for either.

    Raises:
        ValueError: with the first that differs.
    """
    try:
        with torch.device("meta"):
            wanted = {
                k: (tuple(t.shape), DTYPES[t.dtype])
                for k, t in kind(shape, **config).state_dict().items()
            }
    except Exception as error:  # a foreign config may fail in a constructor in any way
        raise ValueError(
            f"config {config} does not fit {kind.format}: {first_line(error)}"
        ) from error
    found = tensor_table(path)
    if wanted.keys() != found.keys():
        raise ValueError(
            f"it holds the tensors {', '.join(sorted(found))}, not {', '.join(sorted(wanted))}"
        )
    for name, want in wanted.items():
        if found[name] != want:
            raise ValueError(
                f"{name} is {found[name][1]} {list(found[name][0])}, not {want[1]} {list(want[0])}"
            )
