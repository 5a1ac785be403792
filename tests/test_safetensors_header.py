"""The header reader against the safetensors library."""

import json
import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from embpress.safetensors_header import read_header


def write_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_it_gives_what_the_library_gives(tmp_path):
    tensors = {
        "a": torch.arange(6, dtype=torch.float16).view(2, 3),
        "b": torch.tensor([7], dtype=torch.int64),
        "empty": torch.empty(0, 4, dtype=torch.bfloat16),
        "scalar": torch.tensor(True),
        "code": torch.zeros(3, dtype=torch.float8_e4m3fn),
    }
    path = tmp_path / "t.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    header = read_header(path)
    content = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        assert header.tensors.keys() == set(file.keys())
        for name, tensor in header.tensors.items():
            stored = file.get_slice(name)
            assert tensor.shape == tuple(stored.get_shape())
            assert tensor.dtype == stored.get_dtype()
    assert len(content) == header.n_bytes + sum(t.n_bytes for t in header.tensors.values())
    half = header.tensors["a"]
    values = struct.unpack("<6e", content[half.start : half.start + half.n_bytes])
    assert values == tuple(range(6))


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F16", "I8"]),
        "shape": st.lists(st.integers(0, 3), max_size=2),
        "data_offsets": st.lists(st.integers(0, 24), min_size=2, max_size=2),
    }
)


@settings(derandomize=True, deadline=None, database=None, max_examples=300)
@given(st.dictionaries(st.sampled_from("ab"), ENTRIES), st.booleans(), st.booleans())
def test_it_refuses_what_the_library_refuses(tmp_path_factory, header, aligned, exact):
    """Random headers, half of them with offsets that fit the shapes."""
    if aligned:
        end = 0
        for entry in header.values():
            n_bytes = math.prod(entry["shape"]) * {"F32": 4, "F16": 2, "I8": 1}[entry["dtype"]]
            entry["data_offsets"] = [end, end + n_bytes]
            end += n_bytes
    data = bytes(max((e["data_offsets"][1] for e in header.values()), default=0) + (not exact))
    path = write_file(tmp_path_factory.mktemp("h") / "t.safetensors", header, data)
    try:
        with safe_open(path, framework="pt") as file:
            expected = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        with pytest.raises(ValueError, match=r"t\.safetensors|tensor"):
            read_header(path)
    else:
        assert {name: t.shape for name, t in read_header(path).tensors.items()} == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "ends before"),
        (b"\0\0\0", "ends before"),
        (struct.pack("<Q", 1 << 60) + b"{}", "ends before"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (struct.pack("<Q", 1) + b"{", "not valid JSON"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "not valid JSON"),
        (struct.pack("<Q", 7) + b'{"a":1}', "'a'"),
    ],
)
def test_a_damaged_header_is_named(tmp_path, content, words):
    path = tmp_path / "t.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_header(path)
