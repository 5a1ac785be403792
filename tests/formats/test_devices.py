"""Every format decodes on the device that its buffers are on."""

from pathlib import Path

import pytest
import torch

from embpress import storage
from embpress.formats._base import CompressedMatrix
from embpress.models.compressed_model import RowRange

from ..second_device import assert_same

GOLDEN = Path(__file__).parent / "golden"
FOLDERS = sorted(path.name for path in GOLDEN.iterdir())
"""At least one of every format, see test_golden."""


def both(folder: str, second: torch.device) -> tuple[CompressedMatrix, CompressedMatrix]:
    """A matrix on the CPU and on the second device."""
    return storage.load(GOLDEN / folder), storage.load(GOLDEN / folder).to(second)


@pytest.mark.parametrize("folder", FOLDERS)
def test_rows_and_products_are_those_of_the_cpu(folder, second):
    here, there = both(folder, second)
    n_rows, d = here.shape
    ids = torch.tensor([n_rows - 1, 0, 0, n_rows // 2])
    x = torch.randn(3, d, generator=torch.Generator().manual_seed(0))
    found = [
        there.rows(ids.to(second)),
        there.dense(),
        there.product(x.to(second)),
        there.product_with(x.to(second), ids.to(second)),
        RowRange(there, 1, 3).product(x.to(second)),
    ]
    wanted = [
        here.rows(ids),
        here.dense(),
        here.product(x),
        here.product_with(x, ids),
        RowRange(here, 1, 3).product(x),
    ]
    assert there.device == second and {tensor.device for tensor in found} == {second}
    for one, other in zip(found, wanted):
        assert_same(one, other)


@pytest.mark.parametrize("folder", FOLDERS)
def test_prepare_and_training_stay_on_the_device(folder, second):
    here, there = both(folder, second)
    there.prepare()
    assert_same(there.dense(), here.dense())
    for matrix in (here, there):
        matrix.unfreeze()
        rows = matrix.rows(torch.arange(4, device=matrix.device))
        if rows.requires_grad:
            rows.square().sum().backward()
    for one, other in zip(there.parameters(), here.parameters(), strict=True):
        assert_same(one.grad, other.grad)
    for matrix in (here, there):
        matrix.freeze()
    assert {tensor.device for tensor in there.buffers()} == {second}
    assert_same(there.dense(), here.dense())


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_matrix_comes_back_and_is_saved_from_the_device(folder, tmp_path, second):
    here, there = both(folder, second)
    storage.save(there, tmp_path)
    written = (tmp_path / storage.TENSORS).read_bytes()
    assert written == (GOLDEN / folder / storage.TENSORS).read_bytes()
    assert torch.equal(there.cpu().dense(), here.dense())


FAULTS = {
    "integer_rows": lambda matrix: _keep_outside_of_buffers(matrix, "scale"),
    "rotated_signs": lambda matrix: _keep_outside_of_buffers(matrix.rotation, "signs"),
    "entropy_coded": lambda matrix: _keep_outside_of_buffers(matrix, "columns"),
    "pruned": lambda matrix: _keep_outside_of_buffers(matrix, "position"),
}


def _keep_outside_of_buffers(module: torch.nn.Module, name: str) -> None:
    """Let a tensor stay on the CPU when its module is moved."""
    values = module._buffers.pop(name)
    setattr(module, name, values)


@pytest.mark.parametrize("folder", FAULTS)
def test_a_tensor_outside_of_buffers_is_found(folder, imitated):
    matrix = storage.load(GOLDEN / folder)
    FAULTS[folder](matrix)
    matrix.to(imitated)
    with pytest.raises(RuntimeError, match="on the same device"):
        matrix.dense()


@pytest.mark.parametrize("folder", ["integer_rows", "binary_residual", "mixture"])
def test_an_arange_without_device_is_found(folder, monkeypatch, imitated):
    """As `integer_rows` and `bits` had them."""
    matrix = storage.load(GOLDEN / folder).to(imitated)
    ids = torch.arange(matrix.shape[0], device=imitated)
    arange = torch.arange
    monkeypatch.setattr(torch, "arange", lambda *args, device=None, **kw: arange(*args, **kw))
    with pytest.raises(RuntimeError, match="on the same device"):
        matrix.rows(ids)


def test_numpy_of_a_tensor_that_was_moved_is_found(monkeypatch, imitated):
    """As `entropy_coded` read its ids."""
    matrix = storage.load(GOLDEN / "entropy_coded").to(imitated)
    ids = torch.arange(matrix.shape[0], device=imitated)
    monkeypatch.setattr(type(ids), "cpu", lambda tensor: tensor)
    with pytest.raises(TypeError, match="to numpy: use Tensor.cpu"):
        matrix.rows(ids)
