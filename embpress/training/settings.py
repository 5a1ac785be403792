"""Settings of the training loop, as a study's config gives them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How to train: a task's `finetune` or `distil.stage2`."""

    epochs: int
    batch_size: int
    learning_rate: float
    """Peak learning rate, reached after warm-up; it then decreases linearly to 0."""
    warmup: float = 0.1
    """Share of the steps during which the learning rate increases linearly from 0."""
    weight_decay: float = 0.0
    """AdamW's weight decay of matrices; biases and normalization weights have none."""
    accumulation: int = 1
    """Number of batches whose gradients are averaged for one optimizer step."""
    precision: str = "fp32"
    """fp32; or bf16: forward pass under `torch.autocast`, weights in float32."""
    patience: int | None = None
    """Stop after this many epochs without a lower loss on held-out training rows, and keep the
    weights of the best epoch. None: train on all rows for all epochs.
    """
    checkpoint_steps: int = 500
    """Number of steps between checkpoints."""

    @classmethod
    def from_config(cls, section: Mapping[str, Any]) -> Self:
        """Settings from a validated section of a config, whose other keys are ignored."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in section.items() if name in names})


@dataclass(frozen=True, kw_only=True)
class TextStageSettings(TrainingSettings):
    """How to distil on running text: a task's `distil.stage1`."""

    terms: Collection[str]
    """Terms of the loss, see `Distillation`."""
    tokens: int
    """Number of tokens to train on, approximately."""
    block: int
    """Tokens per training row, special tokens included."""
