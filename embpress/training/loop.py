"""Training loop of fine-tuning and distillation: AdamW, linear warm-up and decay, gradient
clipping, early stopping, checkpoints.

Device, bf16 and several processes are the work of `accelerate`, see `processes`. transformers'
Trainer is not used, nor checkpoints of `accelerate`: they contain pickles, which embpress does not
read, and a resumed run sees different batches. Here every random number depends only on the seed
and the step, so a run that is interrupted and resumed ends with bit-identical weights.
"""

import hashlib
import json
import logging
import math
import shutil
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers.trainer_pt_utils import get_length_grouped_indices

from ..files import write_json
from ..numerics.device import CPU
from ..numerics.memory import keep_freed_memory
from ..study.task_training import Training
from .batches import Loss, Row, TrainingData, count_tokens, split_validation
from .processes import Processes
from .state import CurveRow, TrainingState

log = logging.getLogger(__name__)

HISTORY = "training.json"
"""File beside trained weights with the learning curve: {"rows": [a CurveRow each]}."""
CURVE_POINTS = 50
"""Approximate number of rows of a learning curve."""
LOG_LINES = 10
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainingContext:
    """Seed and device of a training run."""

    seed: int
    """Seeds a new head, the order of rows, dropout and masks."""
    device: torch.device = CPU
    """Where the model is trained."""


def train(
    model: nn.Module,
    data: TrainingData,
    loss: Loss,
    settings: Training,
    context: TrainingContext,
    scratch: Path,
) -> list[CurveRow] | None:
    """Train all parameters of a model that require gradients, in place.

    The model is on the CPU afterwards. In processes that `launcher.launch` started, all train the
    same model together: call it with the same arguments in each.

    Args:
        model: in the mode (`train` or `eval`) in which its forward pass is to run.
        data: training rows.
        loss: terms of the loss of a batch.
        settings: epochs, batch size, learning rate etc.
        context: seed and device.
        scratch: folder for checkpoints. If it holds one of the same run (settings, seed, rows and
            initial weights), training resumes from it. Deleted at the end.

    Returns:
        The learning curve; None in all processes but the first, which is to write the results.
    """
    return TrainingRun(model, data, loss, settings, context, scratch).run()


class TrainingRun:
    """One run of the training loop; arguments as for `train`."""

    def __init__(
        self,
        model: nn.Module,
        data: TrainingData,
        loss: Loss,
        settings: Training,
        context: TrainingContext,
        scratch: Path,
    ) -> None:
        self.model = model
        self.collate = data.collate
        self.settings = settings
        self.seed = seed = context.seed
        self.scratch = scratch
        self.rows = data.rows
        self.held_out: list[Row] = []
        if settings.patience is not None:
            self.rows, self.held_out = split_validation(data.rows, seed)
        self.processes = Processes(model, loss, settings.precision, context.device)
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        matrices = [p for p in parameters.values() if p.ndim > 1]
        vectors = [p for p in parameters.values() if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        # One kernel for all operations of a step, where torch has it.
        fused = self.processes.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=fused)
        prepared = self.processes.accelerator.prepare(optimizer)
        self.state = TrainingState(parameters, prepared)
        self.rows_per_step = settings.batch_size * settings.accumulation
        self.steps_per_epoch = math.ceil(len(self.rows) / self.rows_per_step)
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.log_interval = max(1, self.total_steps // LOG_LINES)
        self.fingerprint = self._compute_fingerprint(data.rows)

    def run(self) -> list[CurveRow] | None:
        """Train to the end, from the last checkpoint if there is one; returns as `train`."""
        if self.state.restore(self.scratch, self.fingerprint):
            log.info("resuming from step %d/%d", self.state.step, self.total_steps)
        self.first_step = self.state.step
        self.started = time.monotonic()
        with keep_freed_memory():
            while self.state.step < self.total_steps and not self._should_stop():
                self._train_epoch()
        if self.state.best_weights:
            self.state.copy_weights(self.state.best_weights)
        self.model.to("cpu")
        if not self.processes.is_main:
            return None
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.state.history

    def _train_epoch(self) -> None:
        """Take the remaining steps of the current epoch."""
        epoch, first = divmod(self.state.step, self.steps_per_epoch)
        order = self._order_rows(epoch)
        # Every epoch gets the same number of curve points, each the mean of about as many steps:
        # a mean over only one or two steps would look like a jump.
        points = max(1, CURVE_POINTS // self.settings.epochs)
        n_steps = self.steps_per_epoch
        for i in range(first, n_steps):
            start = i * self.rows_per_step
            self._take_step(order[start : start + self.rows_per_step])
            if (i + 1) * points // n_steps > i * points // n_steps:
                self._extend_history()
            if self.state.step % self.log_interval == 0:
                self._log_progress()
            if i + 1 == n_steps and self.held_out:
                self._validate(epoch + 1)
            is_last = self.state.step == self.total_steps
            is_due = self.state.step % self.settings.checkpoint_steps == 0
            if is_due and not is_last and self.processes.is_main:
                self.state.save(self.scratch, self.fingerprint)

    def _take_step(self, positions: list[int]) -> None:
        """Update the parameters once, from the rows at these positions."""
        state = self.state
        learning_rate = self._learning_rate()
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate
        accelerator = self.processes.accelerator
        batch_size = self.settings.batch_size
        for start in range(0, len(positions), batch_size):
            batch = positions[start : start + batch_size]
            is_last = start + batch_size >= len(positions)
            with nullcontext() if is_last else self.processes.without_exchange():
                terms = self._compute_loss([self.rows[i] for i in batch], [state.step, start])
                share = len(batch) / len(positions)
                accelerator.backward(_sum_terms(terms) * share)
            for name, mean in zip(terms, self.processes.average(list(terms.values()))):
                state.loss_sums[name] = state.loss_sums.get(name, 0.0) + mean * share
        accelerator.clip_grad_norm_(state.parameters.values(), MAX_GRADIENT_NORM)
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1

    def _compute_loss(self, rows: list[Row], position: list[int]) -> dict[str, Tensor]:
        """Terms of the loss of a batch, with random numbers that follow from the seed and from the
        batch's position in the run; see `Processes.compute_terms`.
        """
        entropy = [self.seed, *position]
        torch.manual_seed(_derive_seed(entropy))
        batch = self.collate([dict(row) for row in rows])
        if self.processes.count > 1:  # all have the same masks, but each its own dropout
            torch.manual_seed(_derive_seed([*entropy, self.processes.index]))
        return self.processes.compute_terms(batch)

    def _learning_rate(self) -> float:
        """Learning rate of the next step."""
        warmup_steps = round(self.total_steps * self.settings.warmup)
        if self.state.step < warmup_steps:
            share = self.state.step / warmup_steps
        else:
            decay_steps = max(1, self.total_steps - warmup_steps)
            share = (self.total_steps - self.state.step) / decay_steps
        return self.settings.learning_rate * share

    def _order_rows(self, epoch: int) -> list[int]:
        """Positions of all training rows: shuffled, then grouped into batches of similar length."""
        generator = torch.Generator().manual_seed(_derive_seed([self.seed, epoch]))
        lengths = [count_tokens(row) for row in self.rows]
        return get_length_grouped_indices(lengths, self.settings.batch_size, generator=generator)

    def _extend_history(self) -> None:
        """Append a row to the learning curve: mean loss terms since the last one."""
        state = self.state
        last_step = state.history[-1]["step"] if state.history else 0
        n_steps = state.step - last_step
        terms = {name: value / n_steps for name, value in state.loss_sums.items()}
        row = {
            "step": state.step,
            "epoch": state.step / self.steps_per_epoch,
            "loss": sum(terms.values()),
            "learning_rate": self._learning_rate(),
        }
        if len(terms) > 1:
            row |= terms
        state.history.append(row)
        state.loss_sums = {}

    def _log_progress(self) -> None:
        """Log the last loss and the estimated remaining time."""
        state = self.state
        elapsed = time.monotonic() - self.started
        seconds_per_step = elapsed / (state.step - self.first_step)
        seconds = seconds_per_step * (self.total_steps - state.step)
        minutes, seconds = divmod(int(seconds), 60)
        loss = state.history[-1]["loss"] if state.history else math.nan
        message = "step %d/%d, loss %.3f, %d:%02d left"
        log.info(message, state.step, self.total_steps, loss, minutes, seconds)

    def _validate(self, epoch: int) -> None:
        """Compute the loss of the held-out rows in `eval` mode and keep the weights if it is the
        lowest so far.
        """
        was_training = self.model.training
        self.model.eval()
        batch_size = self.settings.batch_size
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(self.held_out), batch_size):
                rows = self.held_out[start : start + batch_size]
                # The same position in all epochs, so that the same tokens are masked.
                terms = self._compute_loss(rows, [0, start])
                (mean,) = self.processes.average([_sum_terms(terms)])
                total += mean * len(rows)
        self.model.train(was_training)
        loss = total / len(self.held_out)
        self.state.history[-1]["held_out_loss"] = loss
        if loss < self.state.best_loss:
            self.state.keep_best_weights(epoch, loss)

    def _should_stop(self) -> bool:
        """Whether early stopping ends training, at the end of an epoch."""
        epoch, steps = divmod(self.state.step, self.steps_per_epoch)
        patience = self.settings.patience
        if patience is None or steps:
            return False
        return epoch - self.state.best_epoch >= patience

    def _compute_fingerprint(self, rows: list[Row]) -> str:
        """Hex digest of everything that determines the result: settings, seed, device, number of
        processes, rows and initial weights.
        """
        place = [self.processes.device.type, self.processes.count]
        inputs = [self.settings.model_dump(mode="json"), self.seed, place, rows]
        digest = hashlib.sha256(json.dumps(inputs, default=str).encode())
        for name, values in self.model.state_dict().items():
            digest.update(name.encode())
            flat = values.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def scratch_folder(output: Path) -> Path:
    """Folder for the checkpoints of a training whose result is written to `output`.

    It is beside `output`, because Snakemake deletes the output of a killed job.
    """
    return output.with_name(f".{output.name}.training")


def write_history(rows: list[CurveRow], folder: Path) -> None:
    """Write a learning curve beside trained weights."""
    write_json(folder / HISTORY, {"rows": rows})


def _sum_terms(terms: dict[str, Tensor]) -> Tensor:
    """The loss: the sum of its terms."""
    first, *others = terms.values()
    return sum(others, first)


def _derive_seed(entropy: list[int]) -> int:
    """A seed that is well mixed from several integers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
