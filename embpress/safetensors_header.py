"""Read the header of a safetensors file without torch and without loading any tensor.

The format (https://huggingface.co/docs/safetensors): 8 bytes with the length N of the header as a
little-endian integer, N bytes of JSON that give each tensor's dtype, shape and byte offsets, and
then the bytes of all tensors one after another.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 100_000_000
"""The limit of the safetensors library."""
METADATA_KEY = "__metadata__"

DTYPE_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of one value, by the dtype names of safetensors."""


class TensorHeader(NamedTuple):
    """What the header says about one tensor."""

    dtype: str
    """A key of DTYPE_BITS."""
    shape: tuple[int, ...]
    start: int
    """Position of the tensor's first byte in the file."""
    n_bytes: int


class SafetensorsHeader(NamedTuple):
    """The header of one file."""

    tensors: dict[str, TensorHeader]
    n_bytes: int
    """Bytes of the file before the first tensor: the length field and the JSON."""


def read_header(path: Path) -> SafetensorsHeader:
    """Read and check the header of a safetensors file.

    The checks are those of the safetensors library: known dtypes, offsets that agree with dtype and
    shape, and tensors that fill the file without gaps or overlaps.

    Raises:
        ValueError: if the file is truncated, or its header is not valid.
        OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        length_field = file.read(LENGTH_BYTES)
        file_bytes = file.seek(0, 2)
        n_json = int.from_bytes(length_field, "little")
        if len(length_field) < LENGTH_BYTES or n_json > file_bytes - LENGTH_BYTES:
            raise ValueError(f"{path.name} ends before its header does")
        if n_json > MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} has a header larger than {MAX_HEADER_BYTES} bytes")
        file.seek(LENGTH_BYTES)
        text = file.read(n_json)
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header of {path.name} is not valid JSON") from error
    if not isinstance(entries, dict):
        raise ValueError(f"the header of {path.name} is not a JSON object")
    first = LENGTH_BYTES + n_json
    entries.pop(METADATA_KEY, None)
    tensors = {name: _parse_entry(name, entry, first) for name, entry in entries.items()}
    end = first
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].n_bytes)):
        if tensor.start != end:
            raise ValueError(f"tensor {name!r} overlaps another one or leaves a gap before it")
        end += tensor.n_bytes
    if end != file_bytes:
        raise ValueError(f"{path.name} has {file_bytes} bytes, but its header describes {end}")
    return SafetensorsHeader(tensors, first)


def _parse_entry(name: str, entry: object, first: int) -> TensorHeader:
    """Check the entry of one tensor, whose offsets count from byte `first` of the file.

    Raises:
        ValueError: if a field is missing or of the wrong type, or the fields contradict each other.
    """
    if not isinstance(entry, dict):
        raise ValueError(f"tensor {name!r} has no JSON object in the header")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ValueError(f"tensor {name!r} has the unknown dtype {dtype!r}")
    shape = _parse_sizes(name, entry.get("shape"))
    offsets = _parse_sizes(name, entry.get("data_offsets"))
    if len(offsets) != 2:
        raise ValueError(f"tensor {name!r} does not have two offsets")
    n_bytes = offsets[1] - offsets[0]
    if math.prod(shape) * DTYPE_BITS[dtype] != 8 * n_bytes:
        raise ValueError(f"tensor {name!r} has a dtype and shape that contradict its offsets")
    return TensorHeader(dtype, shape, first + offsets[0], n_bytes)


def _parse_sizes(name: str, values: object) -> tuple[int, ...]:
    """Check that a JSON value is a list of whole numbers from 0.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(values, list) or not all(type(n) is int and n >= 0 for n in values):
        raise ValueError(f"tensor {name!r} has a shape or offsets that are not lists of sizes")
    return tuple(values)
