"""Calibrate a checkpoint: on training rows of its task, or on texts of its corpus."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.texts import read_texts
from ..models.calibration import Calibration, calibrate
from ..models.calibration_texts import SINGLE_TEXTS, TextLayout, encode_texts, longest_text
from ..models.loading import load_model
from ..models.tokenization import load_tokenizer
from ..tasks import LabelledTask

N_TEXTS = 1000
"""Texts of a corpus that are read for calibration."""


@dataclass(frozen=True)
class CalibrationInputs:
    """What the moments of a checkpoint's layers are taken on: rows of `task`, else `texts`."""

    checkpoint: Path
    """Folder of a checkpoint with metadata."""
    head: str
    """Head with which the checkpoint is loaded."""
    task: LabelledTask[Any] | None = None
    """The task for which the checkpoint was fine-tuned, with its training rows."""
    texts: Path | None = None
    """Counted texts of a corpus, which calibrate a checkpoint that is not fine-tuned."""


def calibrate_checkpoint(
    inputs: CalibrationInputs, seed: int, progress: Callable[[str], None]
) -> Calibration:
    """Compute the moments of a checkpoint's layers, once for its codes at all ratios.

    Args:
        inputs: the checkpoint and its calibration texts.
        seed: of the random projections and masked positions.
        progress: called with a line about every batch.
    """
    model = load_model(inputs.checkpoint, inputs.head)
    tokenizer = load_tokenizer(inputs.checkpoint)
    layout = SINGLE_TEXTS
    if inputs.task is None:
        assert inputs.texts is not None
        texts = read_texts(inputs.texts)
        texts = texts[:: max(1, len(texts) // N_TEXTS)][:N_TEXTS]
        encoded = encode_texts(texts, tokenizer, longest_text(model), in_parts=True)
    else:
        rows = inputs.task.training_rows(tokenizer)
        encoded = _of_rows(rows, "input_ids")
        types = _of_rows(rows, "token_type_ids") if "token_type_ids" in rows[0] else None
        layout = TextLayout(types, choices=len(encoded) // len(rows))
    return calibrate(
        model,
        encoded,
        layout=layout,
        mask_id=tokenizer.mask_token_id,
        seed=seed,
        progress=progress,
    )


def _of_rows(rows: list[dict[str, Any]], name: str) -> list[list[int]]:
    """An input of training rows; the choices of a row are texts of their own."""
    values = [row[name] for row in rows]
    is_choice = isinstance(values[0][0], list)
    return [choice for row in values for choice in row] if is_choice else values
