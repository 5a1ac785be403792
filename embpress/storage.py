"""Matrix folders: one compressed matrix on disk.

    matrix.safetensors   the stored tensors
    matrix.json          their format, the shape of the matrix, and how it was made

A file that is cut or altered is refused before any memory is allocated for its tensors.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import UserError
from .files import read_json, summarize_error, write_json
from .formats import format_class
from .formats._base import CompressedMatrix
from .numerics.matrices import ALL_DTYPES, map_tensors
from .safetensors_header import read_header

FORMAT_VERSION = 1
TENSORS = "matrix.safetensors"
HEADER = "matrix.json"
MAX_ENTRIES = 1 << 48
"""Largest number of entries of a dense matrix; a header with a larger shape is invalid."""
DTYPE_NAMES = {dtype: name for name, dtype in ALL_DTYPES.items()}
"""Names that safetensors gives to the dtypes of torch."""


ALIGNMENT = 16
"""Bytes. Formats view tensors as wider words (see formats/_gathering.py), and torch's kernels crash
on words at other addresses. safetensors aligns a tensor in its file to its own dtype only."""
BYTE_ALIGNMENT = 2
"""The same for tensors of single bytes, which formats view as 16-bit words at most."""


class _UntouchedZeros(TorchFunctionMode):
    """While it is entered, `torch.zeros` gives tensors whose pages take no memory until written.

    A format allocates its tensors before those of a file replace them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        if func is not torch.zeros:
            return func(*args, **kwargs or {})
        meta = torch.zeros(*args, **{**(kwargs or {}), "device": "meta"})
        if not meta.numel():  # without a stride by which it could be viewed
            return func(*args, **kwargs or {})
        # numpy's zeros come from calloc.
        return torch.from_numpy(np.zeros(meta.nbytes, np.uint8)).view(meta.dtype).view(meta.shape)


class _MatrixHeader(NamedTuple):
    """The checked fields of matrix.json from which an empty matrix is built."""

    format: type[CompressedMatrix]
    shape: tuple[int, int]
    config: dict[str, Any]
    """Constructor arguments of the format."""


def save(
    matrix: CompressedMatrix, folder: str | Path, about: Mapping[str, object] | None = None
) -> None:
    """Write a compressed matrix to a matrix folder.

    Args:
        matrix: the matrix.
        folder: the folder to write to; created if it does not exist.
        about: JSON for human readers (method, options, ...) that the header keeps.

    Raises:
        UserError: if the matrix's tensors no longer have the dtypes that its format stores.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # transformers and the Hugging Face hub expect `format: pt` in a safetensors file.
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in matrix.state_dict().items()},
        folder / TENSORS,
        metadata={"format": "pt"},
    )
    header = _MatrixHeader(type(matrix), (matrix.shape[0], matrix.shape[1]), matrix.config())
    try:
        _check_tensors(header, folder / TENSORS)
    except ValueError as error:  # such as after model.half(), which casts stored tensors too
        raise UserError(
            f"the compressed matrix was changed after loading ({error}): load it again to save it"
        ) from error
    write_json(folder / HEADER, describe(matrix) | {"about": about or {}})


def _align(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of it at an address that views as wider words need."""
    alignment = ALIGNMENT if tensor.element_size() > 1 else BYTE_ALIGNMENT
    return tensor if tensor.data_ptr() % alignment == 0 else tensor.clone()


def describe(matrix: CompressedMatrix) -> dict[str, Any]:
    """What a header says about a matrix, as JSON values."""
    return {
        "embpress": FORMAT_VERSION,
        "format": matrix.format,
        "shape": list(matrix.shape),
        "config": matrix.config(),
        "stored_bits": matrix.stored_bits,
    }


def pack(matrix: CompressedMatrix) -> Tensor:
    """All stored tensors of a matrix as bytes, one after another: uint8 (n,)."""
    tensors = [tensor.detach().cpu().contiguous() for tensor in matrix.state_dict().values()]
    return torch.cat([tensor.flatten().view(torch.uint8) for tensor in tensors])


def unpack(stored: Any, packed: Tensor, folder: Path) -> CompressedMatrix:
    """Build the matrix that `describe` and `pack` describe.

    Args:
        stored: what `describe` returned.
        packed: uint8 (n,).
        folder: where they come from, for errors.

    Raises:
        UserError: if the format version is newer, or the format does not exist.
        ValueError: if description and bytes do not fit each other.
        LookupError: if the description lacks a field.
    """
    header = _parse_header(stored, folder)
    empty = _empty_tensors(header)
    sizes = [tensor.numel() * tensor.element_size() for tensor in empty.values()]
    if sum(sizes) != packed.numel() or packed.dtype != torch.uint8:
        raise ValueError(f"a matrix has {packed.numel()} bytes, not {sum(sizes)}")
    matrix = header.format(header.shape, **header.config)
    # Cloned, as a view of another type must be aligned.
    tensors = {
        name: part.clone().view(tensor.dtype).view(tensor.shape)
        for (name, tensor), part in zip(empty.items(), packed.split(sizes))
    }
    matrix.load_state_dict(tensors)
    if stored["stored_bits"] != matrix.stored_bits:
        raise ValueError(f"stored_bits is {stored['stored_bits']}, not {matrix.stored_bits}")
    matrix.prepare()
    return matrix.eval()


def load(folder: str | Path) -> CompressedMatrix:
    """Read a compressed matrix exactly as it was saved.

    Shapes and dtypes are checked before any memory is allocated for the tensors. The tensors are
    mapped from the file: their pages are read when rows are first decoded from them, and the system
    may drop them again, so that a matrix on the CPU may be larger than the memory. Tensors that the
    file leaves unaligned are copied; see `ALIGNMENT`.

    Raises:
        UserError: if the folder contains no compressed matrix, or one that is truncated, altered or
            of a newer format version.
    """
    folder = Path(folder)
    try:
        stored = read_json(folder / HEADER)
        header = _parse_header(stored, folder)
        _check_tensors(header, folder / TENSORS)
        with _UntouchedZeros():
            matrix = header.format(header.shape, **header.config)
        tensors = map_tensors(folder / TENSORS)
        matrix.load_state_dict(
            {name: _align(tensor) for name, tensor in tensors.items()}, assign=True
        )
        if stored["stored_bits"] != matrix.stored_bits:
            raise ValueError(
                f"{HEADER} gives {stored['stored_bits']} bits, not {matrix.stored_bits}"
            )
        matrix.prepare()
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} contains no compressed matrix: {error.filename or TENSORS} is missing"
        ) from error
    except (LookupError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise UserError(
            f"{folder} is not a valid compressed matrix ({summarize_error(error)}): "
            "compress it again"
        ) from error
    return matrix.eval()


def _parse_header(stored: dict[str, Any], folder: Path) -> _MatrixHeader:
    """Check the fields of matrix.json.

    Raises:
        KeyError: if a field is missing.
        ValueError: if a field is invalid.
        UserError: if the format version is newer, or the format does not exist.
    """
    version, name, shape, config = (stored[k] for k in ("embpress", "format", "shape", "config"))
    check_version(version, FORMAT_VERSION, folder)
    matrix_format = format_class(name)
    is_shape = (
        isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)
    )
    if not is_shape or math.prod(shape) > MAX_ENTRIES:
        raise ValueError(f"{shape!r} is not the shape of a matrix")
    if not isinstance(config, dict):
        raise ValueError("config is not a JSON object")
    return _MatrixHeader(matrix_format, (shape[0], shape[1]), config)


def check_version(version: object, newest: int, folder: Path) -> None:
    """Refuse a format version that this code cannot read.

    Raises:
        ValueError: if it is not a version number.
        UserError: if it is newer than `newest`.
    """
    if type(version) is not int or version < 1:
        raise ValueError(f"{version!r} is not a format version")
    if version > newest:
        raise UserError(
            f"{folder} has format version {version}, but this embpress reads up to {newest}: "
            "update embpress"
        )


def _empty_tensors(header: _MatrixHeader) -> dict[str, Tensor]:
    """The tensors of a format by name, without memory.

    Raises:
        ValueError: if the config does not fit the format.
    """
    try:
        with torch.device("meta"):
            return header.format(header.shape, **header.config).state_dict()
    except Exception as error:  # an invalid config may fail in a constructor with any exception
        raise ValueError(
            f"config {header.config} does not fit {header.format.format}: {summarize_error(error)}"
        ) from error


def _check_tensors(header: _MatrixHeader, path: Path) -> None:
    """Compare the tensors of a file with those that the format expects, without allocating either.

    Raises:
        ValueError: with the first difference.
    """
    empty = _empty_tensors(header)
    stored = read_header(path).tensors
    if empty.keys() != stored.keys():
        raise ValueError(
            f"{path.name} contains the tensors {', '.join(sorted(stored))}, "
            f"not {', '.join(sorted(empty))}"
        )
    for name, tensor in empty.items():
        dtype = DTYPE_NAMES[tensor.dtype]
        if (stored[name].dtype, stored[name].shape) != (dtype, tuple(tensor.shape)):
            raise ValueError(
                f"{name} is {stored[name].dtype} {list(stored[name].shape)}, "
                f"not {dtype} {list(tensor.shape)}"
            )
