"""Run transformers without its progress bars and reports, and leave its settings as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
from transformers.utils import logging


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hide progress bars and all messages but errors while the block runs.

    Missing and mismatched weights are reported by embpress itself.
    """
    verbosity = logging.get_verbosity()
    has_bars = logging.is_progress_bar_enabled()
    hub_has_no_bars = are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
        if hub_has_no_bars:
            disable_progress_bars()
