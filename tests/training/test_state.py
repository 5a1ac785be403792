"""State of a training run: checkpoints on disk."""

import torch
from torch import nn

from embpress.training.state import TrainingState


def state_of(seed):
    """State after two steps on one of two layers; the other layer has had no gradient."""
    torch.manual_seed(seed)
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "unused": nn.Linear(2, 1)})
    state = TrainingState(dict(model.named_parameters()), torch.optim.AdamW(model.parameters()))
    for _ in range(2):
        model["used"](torch.ones(3, 2)).sum().backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
    return state


def test_restored_state_equals_saved_state(tmp_path):
    saved = state_of(0)
    saved.history = [{"step": 1, "epoch": 0.5, "loss": 2.0, "learning_rate": 0.1}]
    saved.loss_sums = {"task": 0.25}
    saved.keep_best_weights(1, 0.75)
    saved.save(tmp_path, "x")
    restored = state_of(1)
    assert restored.restore(tmp_path, "x")
    for name in ("step", "history", "loss_sums", "best_loss", "best_epoch"):
        assert getattr(restored, name) == getattr(saved, name)
    for name, parameter in saved.parameters.items():
        assert torch.equal(restored.parameters[name], parameter)
        assert torch.equal(restored.best_weights[name], saved.best_weights[name])
        moments = saved.optimizer.state[parameter]
        others = restored.optimizer.state[restored.parameters[name]]
        assert moments.keys() == others.keys() and bool(moments) == name.startswith("used")
        assert all(torch.equal(moments[key], others[key]) for key in moments)


def test_only_the_last_checkpoint_is_kept_and_only_its_run_restores_it(tmp_path):
    state = state_of(0)
    other = state_of(1)
    before = [parameter.detach().clone() for parameter in other.parameters.values()]
    assert not other.restore(tmp_path, "x")
    state.save(tmp_path, "x")
    state.step = 10
    state.save(tmp_path, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["step10"]
    assert not other.restore(tmp_path, "y")
    assert other.step == 2 and all(map(torch.equal, before, other.parameters.values()))
