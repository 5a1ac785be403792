"""Measure how much memory loading an exported model takes at most."""

import gc
from pathlib import Path
from typing import get_args

from ..errors import UserError
from ..models.decoding import Decode
from ..numerics.memory import malloc_trim, resident_bytes, restart_peak
from .exported_model import load


def measure_load_memory(folder: Path) -> dict[str, int]:
    """Load an exported model in each way to decode.

    Returns:
        By way to decode, the most memory in bytes that the process held while it loaded the model,
        less what it held before. Pages of files that are mapped to memory count once they are read.

    Raises:
        UserError: if the system is not Linux, or the folder contains no exported model.
    """
    load(folder)  # The first time, transformers imports the model's code.
    peaks = {}
    for decode in get_args(Decode):
        gc.collect()
        malloc_trim()
        try:
            restart_peak()
            before = resident_bytes().now
            model = load(folder, decode)
            peaks[decode] = resident_bytes().peak - before
        except OSError as error:
            raise UserError(
                f"memory can be measured on Linux only ({error}): leave --memory out"
            ) from error
        del model
    return peaks
