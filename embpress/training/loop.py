"""The training loop that fine-tuning and distillation share: AdamW, warm-up, checkpoints, early
stopping.

Not transformers' Trainer: its checkpoints hold pickles, which are not read here, and a run that it
resumes sees other batches. Here all that is random follows from the seed and the step, so that a
run that is killed and resumed comes to the same bits.
"""

import hashlib
import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, distributed, nn
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..files import write_json

log = logging.getLogger(__name__)

HISTORY = "training.json"
"""Learning curve, beside what was trained: {"rows".

[{"step", "epoch", "loss", "learning_rate", ...}]}.
"""
CURVE_POINTS = 50
LOG_LINES = 10
HELD_OUT_SHARE = 0.1
"""Of the training rows, where early stopping asks for some."""

Batch = dict[str, Tensor]
Row = dict[str, Any]
Loss = Callable[[nn.Module, Batch], dict[str, Tensor]]
"""Terms of the loss of a batch, each a mean over the batch's rows, by name."""
Collate = Callable[[list[Row]], Batch]


@dataclass(frozen=True)
class Settings:
    """How to train, as a config's `finetune` says."""

    epochs: int
    batch_size: int
    learning_rate: float
    """The largest: reached after warm-up, then falling to 0 in a straight line."""
    warmup: float = 0.1
    """Share of the steps."""
    weight_decay: float = 0.0
    """Of matrices, not of biases and norms."""
    accumulation: int = 1
    """Batches whose gradients are averaged for one step."""
    precision: str = "fp32"
    """Or bf16: the forward pass in bfloat16 where torch's autocast does so.

    Weights stay float32.
    """
    patience: int = 0
    """Stop after so many epochs without a lower loss on held-out training rows.

    And take the best; 0: train on all rows.
    """
    checkpoint_steps: int = 500
    """Steps between checkpoints."""


def train(
    model: nn.Module,
    rows: list[Row],
    collate: Collate,
    loss: Loss,
    settings: Settings,
    seed: int,
    scratch: Path,
) -> list[dict[str, Any]]:
    """Train all parameters of a model that want a gradient, in place, on the GPU if there is one.

    In several processes of `torch.distributed`, each on its own GPU, each takes a part of every
    batch: the gradients are those of one process. The first writes checkpoints, which all must see.

    Args:
        model: in the mode (`train` or `eval`) in which it is to be trained.
        rows: training examples; those with `input_ids` are batched by length.
        collate: rows to a batch; what it draws from torch's generator follows from the step.
        loss: what to lower, the sum of its terms.
        settings: how.
        seed: of the order of rows, dropout and masks.
        scratch: folder for checkpoints. A run that finds its own there goes on from it; removed at
            the end.

    Returns:
        The learning curve, as HISTORY holds it.
    """
    return _Run(model, rows, collate, loss, settings, seed, scratch).run()


class _Run:
    """State of one training: what a checkpoint holds, and what it is made from."""

    def __init__(
        self,
        model: nn.Module,
        rows: list[Row],
        collate: Collate,
        loss: Loss,
        settings: Settings,
        seed: int,
        scratch: Path,
    ) -> None:
        self.model = model
        self.collate = collate
        self.loss = loss
        self.settings = settings
        self.seed = seed
        self.scratch = scratch
        self.rank, self.world = (
            (distributed.get_rank(), distributed.get_world_size())
            if distributed.is_initialized()
            else (0, 1)
        )
        self.device = (
            torch.device("cuda", torch.cuda.current_device())
            if torch.cuda.is_available()
            else torch.device("cpu")
        )
        self.rows, self.held_out = _parted(rows, seed) if settings.patience else (rows, [])
        model.to(self.device)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        decayed = [p for p in self.parameters.values() if p.ndim > 1]
        plain = [p for p in self.parameters.values() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate)
        self.steps_an_epoch = math.ceil(
            len(self.rows) / (settings.batch_size * settings.accumulation)
        )
        self.steps = self.steps_an_epoch * settings.epochs
        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.sums: dict[str, float] = {}
        """Of the terms since the last row of the history."""
        self.best: dict[str, Tensor] = {}
        self.best_loss = math.inf
        self.best_epoch = 0
        self.fingerprint = self._fingerprint(rows)

    def run(self) -> list[dict[str, Any]]:
        """Train to the end."""
        self._resume()
        started = time.monotonic()
        first = self.step
        # As many in each epoch, of about as many steps each: the mean of a step or two would look
        # like a jump.
        points = max(1, CURVE_POINTS // self.settings.epochs)
        while self.step < self.steps and not self._is_over():
            epoch = self.step // self.steps_an_epoch
            order = self._order(epoch)
            for i in range(self.step % self.steps_an_epoch, self.steps_an_epoch):
                size = self.settings.batch_size * self.settings.accumulation
                self._take_step(order[i * size : (i + 1) * size])
                ends = i + 1 == self.steps_an_epoch
                if (i + 1) * points // self.steps_an_epoch > i * points // self.steps_an_epoch:
                    self._add_row()
                if self.step % max(1, self.steps // LOG_LINES) == 0:
                    left = (
                        (time.monotonic() - started)
                        / (self.step - first)
                        * (self.steps - self.step)
                    )
                    loss = self.history[-1]["loss"] if self.history else math.nan
                    log.info(
                        "step %d/%d, loss %.3f, %s left",
                        self.step,
                        self.steps,
                        loss,
                        _minutes(left),
                    )
                if ends and self.held_out:
                    self._judge(epoch + 1)
                if self.step % self.settings.checkpoint_steps == 0 and self.step < self.steps:
                    self._save()
        if self.best:
            self._put({name: self.best[name] for name in self.parameters})
        self.model.to("cpu")
        if self.rank == 0:
            shutil.rmtree(self.scratch, ignore_errors=True)
        return self.history

    def _take_step(self, chosen: list[int]) -> None:
        """One update from the rows at these positions."""
        settings = self.settings
        rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        for start in range(0, len(chosen), settings.batch_size):
            part = chosen[start : start + settings.batch_size]
            terms = self._terms([self.rows[i] for i in part], [self.seed, self.step, start])
            share = len(part) / len(chosen)
            sum(terms.values(), torch.zeros((), device=self.device)).mul(share).backward()
            for name, value in terms.items():
                self.sums[name] = (
                    self.sums.get(name, 0.0) + self._total(value.detach().float()).item() * share
                )
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                self._total(parameter.grad)
        nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1

    def _terms(self, rows: list[Row], key: list[int]) -> dict[str, Tensor]:
        """Terms of the loss of this process's share of the rows.

        Scaled so that the sum over processes is the batch's.
        """
        own = rows[self.rank :: self.world] if len(rows) >= self.world else rows
        scale = len(own) / len(rows) if len(rows) >= self.world else 1 / self.world
        torch.manual_seed(int(np.random.SeedSequence([*key, self.rank]).generate_state(1)[0]))
        batch = {
            name: values.to(self.device)
            for name, values in self.collate([dict(row) for row in own]).items()
        }
        with self._autocast():
            return {name: value * scale for name, value in self.loss(self.model, batch).items()}

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.settings.precision == "bf16"
        )

    def _total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def _learning_rate(self) -> float:
        """Of the step to come."""
        warm = round(self.steps * self.settings.warmup)
        share = (
            self.step / warm
            if self.step < warm
            else (self.steps - self.step) / max(1, self.steps - warm)
        )
        return self.settings.learning_rate * share

    def _order(self, epoch: int) -> list[int]:
        """Positions of all rows: shuffled, then batches of like lengths together."""
        generator = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0])
        )
        lengths = [_length(row) for row in self.rows]
        return get_length_grouped_indices(lengths, self.settings.batch_size, generator=generator)

    def _add_row(self) -> None:
        """Mean terms since the last row of the history."""
        since = self.step - (self.history[-1]["step"] if self.history else 0)
        terms = {name: value / since for name, value in self.sums.items()}
        row = {
            "step": self.step,
            "epoch": self.step / self.steps_an_epoch,
            "loss": sum(terms.values()),
        }
        self.history.append(
            row | {"learning_rate": self._learning_rate()} | (terms if len(terms) > 1 else {})
        )
        self.sums = {}

    def _judge(self, epoch: int) -> None:
        """Measure the held-out rows' loss without dropout.

        And keep the weights if it is the lowest.
        """
        was_training = self.model.training
        total = 0.0
        self.model.eval()
        size = self.settings.batch_size
        with torch.no_grad():
            for start in range(0, len(self.held_out), size):
                part = self.held_out[start : start + size]
                # One key for all epochs: masks that are drawn are the same.
                terms = self._terms(part, [self.seed, 0, start])
                total += self._total(
                    sum(terms.values(), torch.zeros((), device=self.device))
                ).item() * len(part)
        self.model.train(was_training)
        held_out = total / len(self.held_out)
        self.history[-1]["held_out_loss"] = held_out
        if held_out < self.best_loss:
            self.best_loss = held_out
            self.best_epoch = epoch
            self.best = {name: p.detach().cpu().clone() for name, p in self.parameters.items()}

    def _is_over(self) -> bool:
        """Whether early stopping has seen enough."""
        epoch, begun = divmod(self.step, self.steps_an_epoch)
        return (
            bool(self.held_out)
            and not begun
            and epoch - self.best_epoch >= self.settings.patience
            and epoch > 0
        )

    def _save(self) -> None:
        """Write a checkpoint whole, then drop the one before."""
        if self.rank:
            return
        folder = self.scratch / f"step{self.step}"
        partial = self.scratch / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors = {f"weight/{name}": p.detach() for name, p in self.parameters.items()}
        tensors |= {f"best/{name}": value for name, value in self.best.items()}
        for name, parameter in self.parameters.items():
            tensors |= {
                f"{key}/{name}": value for key, value in self.optimizer.state[parameter].items()
            }
        save_file(
            {name: value.contiguous() for name, value in tensors.items()},
            partial / "state.safetensors",
        )
        kept = ("step", "history", "sums", "best_loss", "best_epoch", "fingerprint")
        write_json(partial / "state.json", {name: getattr(self, name) for name in kept})
        shutil.rmtree(folder, ignore_errors=True)  # of another training
        partial.rename(folder)
        for old in self.scratch.glob("step*"):
            if old != folder:
                shutil.rmtree(old)

    def _resume(self) -> None:
        """Go on from the last checkpoint, if it is of the same training."""
        found = sorted(
            self.scratch.glob("step*"), key=lambda folder: int(folder.name.removeprefix("step"))
        )
        if not found:
            return
        state = json.loads((found[-1] / "state.json").read_text())
        if state["fingerprint"] != self.fingerprint:
            log.info("%s is of another training: starting anew", found[-1])
            return
        for name, value in state.items():
            setattr(self, name, value)
        tensors = load_file(found[-1] / "state.safetensors")
        self._put({name: tensors[f"weight/{name}"] for name in self.parameters})
        self.best = {
            k.removeprefix("best/"): v for k, v in tensors.items() if k.startswith("best/")
        }
        for name, parameter in self.parameters.items():
            parts = {
                k.split("/")[0]: v
                for k, v in tensors.items()
                if k.endswith(f"/{name}") and k.split("/", 1)[1] == name
            }
            moments = {k: v for k, v in parts.items() if k not in ("weight", "best")}
            if moments:  # a parameter that no loss reaches has none
                moved = {k: v if k == "step" else v.to(self.device) for k, v in moments.items()}
                self.optimizer.state[parameter] = moved
        log.info("going on from step %d/%d", self.step, self.steps)

    def _put(self, values: dict[str, Tensor]) -> None:
        """Copy values into the parameters."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(values[name])

    def _fingerprint(self, rows: list[Row]) -> str:
        """Of all that decides what comes out: settings, seed, rows and the weights at the start."""
        digest = hashlib.sha256(
            json.dumps([asdict(self.settings), self.seed, self.world, rows], default=str).encode()
        )
        for name, parameter in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(
                parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()


def scratch_of(folder: Path) -> Path:
    """Where checkpoints of what goes to `folder` are kept.

    Beside it, as Snakemake deletes the output of a killed job.
    """
    return folder.with_name(f".{folder.name}.training")


def write_history(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write learning curves beside what was trained."""
    write_json(folder / HISTORY, {"rows": rows})


def _parted(rows: list[Row], seed: int) -> tuple[list[Row], list[Row]]:
    """Rows to train on, and rows held out of them."""
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    n = max(1, round(len(rows) * HELD_OUT_SHARE))
    return [rows[i] for i in sorted(order[n:])], [rows[i] for i in sorted(order[:n])]


def _length(row: Row) -> int:
    """Tokens of a row; of several texts, of the longest."""
    ids = row["input_ids"]
    return max(map(len, ids)) if isinstance(ids[0], list) else len(ids)


def _minutes(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
