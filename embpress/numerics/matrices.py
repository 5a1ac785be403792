"""Matrices on disk that are read by blocks of rows, as they may be larger than the memory.

The safetensors library maps whole files with private writable pages, which Linux refuses of files
that are larger than the memory. Tensors are read, or mapped without a reservation, instead.
"""

import mmap
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from ..errors import UserError
from ..safetensors_header import TensorHeader, read_header

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of matrices that can be read by blocks, by their names in safetensors."""
ALL_DTYPES = DTYPES | {
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""Types of tensors, by their names in safetensors."""
NO_RESERVATION = 0x4000 if sys.platform == "linux" else 0
"""MAP_NORESERVE, which Python's `mmap` names from 3.13 on: no memory is set aside for the pages
that a program may write to."""


class FileMatrix:
    """A (V, d) matrix in a file. Rows are read, not memory-mapped, and converted to float32.

    Args:
        path: a file that holds the rows one after another, little-endian.
        shape: V and d.
        dtype: type of the stored values: float32, float16 or bfloat16.
        offset: position of the first row in the file, in bytes.

    Raises:
        UserError: if the file is too short, or the type is not one of these.
    """

    ndim = 2

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        offset: int = 0,
    ) -> None:
        if dtype not in DTYPES.values():
            raise UserError(
                f"{path} holds values of type {dtype}: float32, float16 and bfloat16 can be read"
            )
        self.shape = (int(shape[0]), int(shape[1]))
        self.stored_dtype = dtype
        self.offset = offset
        self.row_bytes = self.shape[1] * dtype.itemsize
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 (closed with the matrix)
        size = os.fstat(self._file.fileno()).st_size
        if size < offset + self.shape[0] * self.row_bytes:
            raise UserError(
                f"{path} has {size} bytes, too few for {self.shape[0]} x {self.shape[1]} values: "
                "copy it again"
            )

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, where: slice | int | Tensor) -> Tensor:
        """Read rows as float32: (n, d) for a slice of step 1 or int64 ids (n,), (d,) for one id."""
        if isinstance(where, slice):
            start, stop, step = where.indices(len(self))
            if step != 1:
                raise IndexError(f"slice step {step} of a matrix on disk: only step 1 is supported")
            return self._read(start, max(start, stop)).float()
        if isinstance(where, Tensor):
            rows = torch.empty(len(where), self.shape[1])
            for position, row in enumerate(where.tolist()):
                rows[position] = self[row]
            return rows
        row = where + len(self) if where < 0 else where
        if not 0 <= row < len(self):
            raise IndexError(f"row {where} is out of range: the matrix has {len(self)} rows")
        return self._read(row, row + 1)[0].float()

    def _read(self, start: int, stop: int) -> Tensor:
        """Read rows [start, stop) in the stored type."""
        rows = torch.empty(stop - start, self.shape[1], dtype=self.stored_dtype)
        if not rows.numel():
            return rows
        buffer: memoryview = rows.flatten().view(torch.uint8).numpy().data
        position = self.offset + start * self.row_bytes
        while buffer:  # one call reads at most 2 GiB
            n_read = os.preadv(self._file.fileno(), [buffer], position)
            if not n_read:
                raise UserError(f"{self._file.name} was truncated while it was read: copy it again")
            buffer = buffer[n_read:]
            position = position + n_read
        return rows


def read_tensors(path: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Read some tensors of a safetensors file into memory, and no others.

    Raises:
        ValueError: if the file is not a valid safetensors file, or a type is not in ALL_DTYPES.
        KeyError: if there is no tensor of a name.
    """
    tensors = {}
    stored = read_header(path).tensors
    with path.open("rb") as file:
        for name in names:
            file.seek(stored[name].start)
            content = _read_bytes(file, stored[name].n_bytes)
            tensors[name] = _typed(content, stored[name], path)
    return tensors


def _read_bytes(file: BinaryIO, n_bytes: int) -> Tensor:
    """The next bytes of a file: uint8 (n_bytes,)."""
    content = torch.empty(n_bytes, dtype=torch.uint8)
    if n_bytes and file.readinto(content.numpy().data) != n_bytes:  # type: ignore[attr-defined]
        raise ValueError(f"{file.name} was truncated while it was read")
    return content


def map_tensors(path: Path) -> dict[str, Tensor]:
    """Map all tensors of a safetensors file, which may be larger than the memory.

    Pages are read when they are first used. What is written to a tensor is not written to the file.

    Raises:
        ValueError: as `read_tensors`.
    """
    stored = read_header(path).tensors
    flags = mmap.MAP_PRIVATE | NO_RESERVATION
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    content = torch.frombuffer(pages, dtype=torch.uint8)
    return {
        name: _typed(content[tensor.start : tensor.start + tensor.n_bytes], tensor, path)
        for name, tensor in stored.items()
    }


def _typed(content: Tensor, tensor: TensorHeader, path: Path) -> Tensor:
    """Bytes as the tensor that they hold; a copy if they are not aligned to its type."""
    if tensor.dtype not in ALL_DTYPES:
        raise ValueError(f"{path.name} has a tensor of type {tensor.dtype}")
    dtype = ALL_DTYPES[tensor.dtype]
    if not content.numel():
        return torch.empty(tensor.shape, dtype=dtype)
    if content.data_ptr() % dtype.itemsize or content.storage_offset() % dtype.itemsize:
        content = content.clone()
    return content.view(dtype).view(tensor.shape)


Rows = Tensor | FileMatrix
"""Input of methods that read a matrix by blocks of rows."""


def safetensors_matrix(path: Path, name: str) -> FileMatrix:
    """Open the two-dimensional tensor `name` of a safetensors file.

    Raises:
        UserError: if the file is not a valid safetensors file, or has no such matrix of a readable
            dtype.
    """
    try:
        tensors = read_header(path).tensors
    except ValueError as error:
        raise UserError(
            f"{path} is not a valid safetensors file ({error}): copy or download it again"
        ) from error
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype not in DTYPES or len(tensor.shape) != 2:
        raise UserError(f"{path} has no matrix {name!r} of type {', '.join(DTYPES)}: name another")
    n_rows, n_columns = tensor.shape
    return FileMatrix(path, (n_rows, n_columns), DTYPES[tensor.dtype], tensor.start)
