import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from embpress.errors import UserError
from embpress.numerics.matrices import FileMatrix, safetensors_matrix


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_those_of_the_tensor(dtype, tmp_path):
    tensor = torch.randn(50, 7).to(dtype)
    save_file({"other": torch.ones(3), "e": tensor}, tmp_path / "m.safetensors")
    matrix = safetensors_matrix(tmp_path / "m.safetensors", "e")
    assert matrix.shape == (50, 7) and len(matrix) == 50
    for where in (
        slice(None),
        slice(3, 9),
        slice(45, 99),
        slice(9, 3),
        4,
        -1,
        torch.tensor([49, 0, 0]),
    ):
        assert torch.equal(matrix[where], tensor[where].float()), where


def test_raw_files_are_read_from_an_offset(tmp_path):
    (tmp_path / "m").write_bytes(b"head" + np.arange(6, dtype="<f4").tobytes())
    assert torch.equal(
        FileMatrix(tmp_path / "m", (3, 2), offset=4)[:], torch.arange(6.0).view(3, 2)
    )


def test_what_cannot_be_read_is_said(tmp_path):
    save_file(
        {"e": torch.ones(3, 2), "i": torch.ones(3, 2).int(), "v": torch.ones(3)},
        tmp_path / "m.safetensors",
    )
    for name in ("x", "i", "v"):
        with pytest.raises(UserError, match=f"no matrix '{name}'"):
            safetensors_matrix(tmp_path / "m.safetensors", name)
    (tmp_path / "junk").write_bytes(b"\xff" * 40)
    with pytest.raises(UserError, match="junk is not a valid safetensors file"):
        safetensors_matrix(tmp_path / "junk", "e")
    with pytest.raises(UserError, match="40 bytes, too few for 6 x 2 values: copy it again"):
        FileMatrix(tmp_path / "junk", (6, 2))
    with pytest.raises(UserError, match="can be read"):
        FileMatrix(tmp_path / "junk", (2, 2), torch.int32)
    with pytest.raises(IndexError):
        FileMatrix(tmp_path / "junk", (3, 2))[3]
