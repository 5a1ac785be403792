"""The device without hardware refuses what a GPU refuses, and computes what the CPU computes."""

import pytest
import torch
from torch.nn import functional

CPU = torch.arange(12.0).view(3, 4)
MIXED = {
    "an addition": lambda x: x + CPU,
    "a product": lambda x: CPU @ x.T,
    "an index": lambda x: x[torch.tensor([0, 2])],
    "a selection of rows": lambda x: x.index_select(0, torch.tensor([0, 2])),
    "a lookup": lambda x: functional.embedding(torch.tensor([1]), x),
    "a change in place": lambda x: x.add_(CPU),
    "a concatenation": lambda x: torch.cat([x, CPU]),
    "a choice": lambda x: torch.where(x > 0, x, CPU),
    "a linear layer": lambda x: torch.nn.Linear(4, 2)(x),
}


@pytest.mark.parametrize("operation", MIXED)
def test_tensors_of_two_devices_do_not_mix(operation, imitated):
    with pytest.raises(RuntimeError, match="on the same device"):
        MIXED[operation](CPU.to(imitated))


def test_memory_is_not_read_from_the_cpu(imitated):
    x = CPU.to(imitated)
    with pytest.raises(TypeError, match="to numpy"):
        x.numpy()
    with pytest.raises(TypeError, match="to numpy"):
        x.sum(1).detach().numpy()


def test_numbers_mix_and_tensors_are_copied_between_devices(imitated):
    x = CPU.to(imitated)
    assert (x.device, (x * torch.tensor(2.0)).device, x.cpu().device.type) == (
        imitated,
        imitated,
        "cpu",
    )
    assert torch.equal((x * torch.tensor(2.0)).cpu(), CPU * 2)
    here = torch.zeros(3, 4)
    here[1:] = x[1:]
    assert torch.equal(here[1:], CPU[1:]) and here.device.type == "cpu"
    there = torch.zeros(3, 4, device=imitated)
    there[1:] = CPU[1:]
    assert torch.equal(there.cpu(), here) and float(there.sum()) == float(here.sum())
    assert torch.arange(2, 5, device=imitated).tolist() == [2, 3, 4]


def test_views_share_memory(imitated):
    x = CPU.clone().to(imitated)
    x[:, 1].zero_()
    x.view(-1)[0] = 7
    wanted = CPU.clone()
    wanted[:, 1] = 0
    wanted[0, 0] = 7
    assert torch.equal(x.cpu(), wanted)


def test_a_layer_trains_as_on_the_cpu(imitated):
    weights = []
    for device in (torch.device("cpu"), imitated):
        torch.manual_seed(0)
        layer = torch.nn.Linear(4, 2).to(device)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, fused=True)
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(
                layer(CPU.to(device)), torch.tensor([0, 1, 1]).to(device)
            ).backward()
            optimizer.step()
        assert layer.weight.device == device
        weights.append(layer.weight.detach().cpu())
    assert torch.equal(*weights)
