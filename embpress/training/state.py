"""State of a training run, and the checkpoints from which an interrupted run resumes."""

import json
import logging
import math
import shutil
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ..files import write_json

log = logging.getLogger(__name__)

TENSORS = "state.safetensors"
RECORD = "state.json"
RECORDED = ("step", "history", "loss_sums", "best_loss", "best_epoch")
"""Attributes of TrainingState that RECORD holds."""

CurveRow = dict[str, float]
"""A row of the learning curve: step, epoch, loss, learning_rate, the terms of the loss where it has
several, and held_out_loss at the end of an epoch with early stopping."""


@dataclass
class TrainingState:
    """Everything that changes during training, except the position in the random number stream,
    which follows from seed and step.
    """

    parameters: dict[str, nn.Parameter]
    """Trained parameters by name."""
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Number of optimizer steps taken."""
    history: list[CurveRow] = field(default_factory=list)
    loss_sums: dict[str, float] = field(default_factory=dict)
    """Sum of each term of the loss over the steps since the last row of the history."""
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    """Parameters after the epoch with the lowest held-out loss; empty without early stopping."""
    best_loss: float = math.inf
    best_epoch: int = 0

    def save(self, scratch: Path, fingerprint: str) -> None:
        """Write a checkpoint to a new folder in `scratch`, then delete the previous one.

        Args:
            scratch: folder of the run's checkpoints.
            fingerprint: identifies the run, see `restore`.
        """
        folder = scratch / f"step{self.step}"
        partial = scratch / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {f"best/{name}": values for name, values in self.best_weights.items()}
        for name, parameter in self.parameters.items():
            tensors[f"weight/{name}"] = parameter.detach()
            for key, values in self.optimizer.state[parameter].items():
                tensors[f"{key}/{name}"] = values
        contiguous = {key: values.contiguous() for key, values in tensors.items()}
        save_file(contiguous, partial / TENSORS)
        record = {name: getattr(self, name) for name in RECORDED}
        write_json(partial / RECORD, record | {"fingerprint": fingerprint})
        shutil.rmtree(folder, ignore_errors=True)  # left by a run with another fingerprint
        partial.rename(folder)
        for other in scratch.glob("step*"):
            if other != folder:
                shutil.rmtree(other)

    def restore(self, scratch: Path, fingerprint: str) -> bool:
        """Load the last checkpoint in `scratch`.

        Returns:
            Whether there is one with this fingerprint; if not, nothing changes.
        """
        folders = list(scratch.glob("step*"))
        if not folders:
            return False
        folder = max(folders, key=lambda folder: int(folder.name.removeprefix("step")))
        record = json.loads((folder / RECORD).read_text())
        if record["fingerprint"] != fingerprint:
            log.info("%s belongs to another run: training from the start", folder)
            return False
        for name in RECORDED:
            setattr(self, name, record[name])
        stored: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, values in load_file(folder / TENSORS).items():
            kind, name = key.split("/", 1)
            stored[name][kind] = values
        self.copy_weights({name: stored[name].pop("weight") for name in self.parameters})
        for name, parameter in self.parameters.items():
            if "best" in stored[name]:
                self.best_weights[name] = stored[name].pop("best")
            if stored[name]:  # a parameter that has had no gradient has no optimizer state
                self.optimizer.state[parameter] = {
                    key: values.to(parameter.device) for key, values in stored[name].items()
                }
        return True

    def keep_best_weights(self, epoch: int, loss: float) -> None:
        """Copy the parameters to the CPU as the best weights so far."""
        self.best_loss = loss
        self.best_epoch = epoch
        self.best_weights = {n: p.detach().cpu().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def copy_weights(self, weights: dict[str, Tensor]) -> None:
        """Copy weights into the parameters, in place."""
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])
