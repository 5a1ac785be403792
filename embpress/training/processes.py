"""Where a training run computes, through `accelerate`: device, bf16, processes and gradients.

Each of several processes holds the whole model and computes the loss of a share of every batch's
rows. What `accelerate` does not know is added here: a share's means are weighted by the numbers of
predictions that they are means over. So any number of processes computes the loss of one process,
and, without dropout, its gradients.
"""

import atexit
import warnings
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import patch_environment
from torch import Tensor, nn

from ..study.task_training import Precision
from .batches import Batch, Loss, count_predictions
from .launcher import is_launched

MIXED_PRECISION = {"fp32": "no", "bf16": "bf16"}
"""The names of precisions in `accelerate`."""


class LossModule(nn.Module):
    """The terms of a batch's loss as the output of a module.

    So bf16 covers the whole loss, and gradients are exchanged for what the loss depends on: it may
    use a part of the model's output only, or what hooks have recorded.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of the loss of a batch."""
        return self.loss(self.model, batch)


class Processes:
    """The process, or processes that `launcher.launch` started, which train one model.

    The model is moved to the device in place.

    Args:
        model: the model, the same in all processes.
        loss: terms of the loss of a batch.
        precision: bf16 runs the loss under autocast; weights stay float32.
        device: where one process computes. Several processes have one GPU each, or the CPU.
    """

    def __init__(
        self, model: nn.Module, loss: Loss, precision: Precision, device: torch.device
    ) -> None:
        self.accelerator = _create_accelerator(precision, device)
        if self.count > 1:  # at the end of the process, as a group cannot be joined again
            atexit.register(self.accelerator.end_training)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.module: nn.Module = self.accelerator.prepare(LossModule(model, loss))

    @property
    def count(self) -> int:
        """Number of processes."""
        return int(self.accelerator.num_processes)

    @property
    def index(self) -> int:
        """Position of this process among all."""
        return int(self.accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints and results."""
        return bool(self.accelerator.is_main_process)

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return torch.device(self.accelerator.device)

    def without_exchange(self) -> AbstractContextManager[None]:
        """Context of a batch after which another one adds to the gradients: they stay local."""
        return self.accelerator.no_sync(self.module)

    def compute_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of a batch's loss, whose means over the processes are those of the whole batch.

        Args:
            batch: the same in all processes, on any device. Each takes a share of the rows.
        """
        with self.accelerator.split_between_processes(dict(batch)) as share:
            is_empty = not len(next(iter(share.values())))
            if is_empty:  # the others wait for this process's gradients, which are 0
                share = {name: values[:1] for name, values in batch.items()}
            share = {name: values.to(self.device) for name, values in share.items()}
            terms: dict[str, Tensor] = self.module(share)
        if self.count == 1:
            return terms
        weighted = {}
        for name, value in terms.items():
            n_own = 0 if is_empty else count_predictions(name, share)
            weight = n_own / max(1, count_predictions(name, batch))
            # A mean over no predictions is not a number.
            weighted[name] = (value if n_own else value.nan_to_num()) * (weight * self.count)
        return weighted

    def average(self, values: list[Tensor]) -> list[float]:
        """Means over the processes of scalars."""
        stacked = torch.stack([value.detach().float() for value in values])
        means: list[float] = self.accelerator.reduce(stacked, reduction="mean").tolist()
        return means


def _create_accelerator(precision: Precision, device: torch.device) -> Accelerator:
    """An accelerator on a device, or on one device of its type for each launched process."""
    # The state is global: a process that trains twice would keep the first device and precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    # Unless it looks for unused parameters, torch changes the order in which gradients are summed
    # after the first step, and a resumed run would not end with the same bits.
    gradients = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    chosen = {} if is_launched() else {"ACCELERATE_TORCH_DEVICE": str(device)}
    with patch_environment(**chosen):
        return Accelerator(
            cpu=device.type == "cpu",
            mixed_precision=MIXED_PRECISION[precision],
            kwargs_handlers=[gradients],
        )
