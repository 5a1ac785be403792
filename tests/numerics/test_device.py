import pytest
import torch

from embpress.errors import UserError
from embpress.numerics.device import choose_device


@pytest.mark.parametrize(
    ("name", "has_gpu", "wanted"),
    [("auto", True, "cuda"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_gpu_is_used_where_torch_sees_one(name, has_gpu, wanted, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device(name) == torch.device(wanted)


@pytest.mark.parametrize(("cuda", "reason"), [(None, "has no CUDA"), ("13.0", "sees no GPU")])
def test_a_gpu_that_is_not_there_is_one_sentence(cuda, reason, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(UserError, match=f"device is cuda, but torch .* {reason}: use device auto"):
        choose_device("cuda")


def test_other_devices_are_refused():
    with pytest.raises(UserError, match="device is 'mps': use auto, cpu or cuda"):
        choose_device("mps")
