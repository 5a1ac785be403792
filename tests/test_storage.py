import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.integer_rows import IntegerRows
from embpress.formats.low_rank import LowRank
from embpress.formats.product_codes import ProductCodes
from embpress.methods._layer_code import LayerCoder, plain_moments


@pytest.fixture
def artefact(tmp_path):
    matrix = LowRank((6, 4), rank=2, bias=True)
    for buffer in matrix.buffers():
        buffer.copy_(torch.randn(buffer.shape))
    storage.save(matrix, tmp_path / "a", {"method": "svd"})
    return tmp_path / "a"


def test_header_says_what_it_is(artefact):
    header = json.loads((artefact / storage.HEADER).read_text())
    assert (
        header["shape"] == [6, 4]
        and header["format"] == "low_rank"
        and header["about"] == {"method": "svd"}
    )
    assert header["stored_bits"] == 32 * (6 * 2 + 2 * 4 + 4)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"matrix\.json is missing"):
        storage.load(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 7, 40, 150, -1])
def test_truncated_tensors_are_refused(artefact, keep):
    file = artefact / storage.TENSORS
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match="not a valid compressed matrix.*compress it again"):
        storage.load(artefact)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "nothing"},
        {"shape": [7, 4]},
        {"shape": [6]},
        {"shape": "6x4"},
        {"config": {"rank": 3, "bias": True}},
        {"config": {"code": "import os"}},
        {"config": []},
        {"embpress": None},
    ],
)
def test_altered_headers_are_refused(artefact, change):
    file = artefact / storage.HEADER
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError):
        storage.load(artefact)


def test_newer_version_and_broken_json_are_refused(artefact):
    file = artefact / storage.HEADER
    header = json.loads(file.read_text())
    file.write_text(json.dumps(header | {"embpress": 99}))
    with pytest.raises(UserError, match="version 99.*update"):
        storage.load(artefact)
    file.write_text("{")
    with pytest.raises(UserError, match="not a valid compressed matrix"):
        storage.load(artefact)


PEAK_OF_LOADING = """
import sys, torch
from embpress import storage
from embpress.numerics.memory import resident_bytes, restart_peak
restart_peak()
before = resident_bytes().now
assert storage.load(sys.argv[1]).rows(torch.tensor([199_999])).tolist() == [[1.0] * 256]
print(resident_bytes().peak - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux")
def test_rows_are_read_from_the_file_when_they_are_decoded(tmp_path):
    stored = IntegerRows((200_000, 256), 8)
    stored.codes[-256:] = 130
    stored.scale.fill_(0.5)
    storage.save(stored, tmp_path)
    # In a process of its own: this one's allocator may keep freed pages, which zeros then fill.
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_LOADING, tmp_path], check=True, stdout=subprocess.PIPE
    )
    assert int(done.stdout) < 0.2 * stored.stored_bits / 8
    loaded = storage.load(tmp_path)
    # A file that is replaced is not the one that was mapped.
    storage.save(IntegerRows((200_000, 256), 8), tmp_path / "new")
    (tmp_path / "new" / storage.TENSORS).replace(tmp_path / storage.TENSORS)
    assert loaded.rows(torch.tensor([199_999])).tolist() == [[1.0] * 256]


def test_an_empty_tensor_of_a_wide_type_is_loaded(tmp_path):
    coder = LayerCoder(torch.randn(20, 8), plain_moments(torch.ones(20, 8)))
    matrix = coder.encode(-3.0)
    matrix.prepare()
    storage.save(matrix, tmp_path / "matrix")
    loaded = storage.load(tmp_path / "matrix")
    assert not loaded.mean.numel()
    assert torch.equal(loaded.dense(), matrix.dense())


def test_tensors_that_a_file_leaves_unaligned_are_copied(tmp_path):
    """torch's kernels crash on a complex number at an address that 16 does not divide."""
    stored = ProductCodes((3, 8), subspaces=2, width=4)
    storage.save(stored, tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / storage.TENSORS)
    for padding in ("", " " * 8):
        safetensors.torch.save_file(
            tensors, tmp_path / storage.TENSORS, metadata={"format": "pt", "padding": padding}
        )
        for tensor in storage.load(tmp_path).state_dict().values():
            assert tensor.data_ptr() % (16 if tensor.element_size() > 1 else 2) == 0
