import json

import pytest
import torch

from embpress import storage
from embpress.errors import UserError
from embpress.formats.low_rank import LowRank


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
