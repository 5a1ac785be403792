"""Files of calibrations, made once and read by the codes of a checkpoint at all ratios."""

from collections import defaultdict
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor, tensor

from ..methods._layer_code import Moments
from .calibration import Calibration
from .calibration_texts import TextBatch

TOKEN_COUNTS = "token_counts"
SIZES = "sizes"
"""Texts and tokens of the moments."""


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write all of a calibration to a safetensors file."""
    sizes = tensor([calibration.n_texts, calibration.n_tokens])
    tensors = {TOKEN_COUNTS: calibration.token_counts, SIZES: sizes}
    for name, moments in calibration.moments.items():
        tensors[f"inputs:{name}"] = moments.inputs
        tensors[f"outputs:{name}"] = moments.outputs
    for i, batch in enumerate(calibration.batches):
        # A clone, as all tokens are labels of most models.
        masks = {"mask": batch.mask, "labels": batch.labels.clone()}
        for name, values in (batch.inputs | masks).items():
            tensors[f"{i}:{name}"] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: values.contiguous() for name, values in tensors.items()}, path)


def read_calibration(path: Path) -> Calibration:
    """Read a file of `write_calibration`."""
    tensors = load_file(path)
    token_counts = tensors.pop(TOKEN_COUNTS)
    n_texts, n_tokens = tensors.pop(SIZES).tolist()
    groups: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, values in tensors.items():
        group, name = key.split(":", 1)
        groups[group][name] = values
    inputs, outputs = groups.pop("inputs", {}), groups.pop("outputs", {})
    moments = {name: Moments(values, outputs[name]) for name, values in inputs.items()}
    batches = []
    for _, batch in sorted(groups.items(), key=lambda group: int(group[0])):
        mask, labels = batch.pop("mask"), batch.pop("labels")
        batches.append(TextBatch(batch, mask, labels))
    return Calibration(moments, token_counts, n_texts, n_tokens, batches)
