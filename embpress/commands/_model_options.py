"""Options about the model to compress, which several commands have."""

import argparse

from ..export.progress_line import ProgressLine
from ._paths import named, path


def add_model_options(command: argparse.ArgumentParser) -> None:
    """Options about the model to compress."""
    command.add_argument(
        "--model",
        type=named,
        required=True,
        metavar="MODEL",
        help="folder in transformers' or sentence-transformers' layout, or a model of the hub, "
        "owner/name or owner/name@revision",
    )
    command.add_argument(
        "--counts",
        type=path,
        metavar="FILE",
        help="token counts: .safetensors of a study; .tsv or .txt, with a token or id, a tab and a "
        "count a line; or .json of tokens or ids to counts, or a list of counts by id",
    )
    command.add_argument(
        "--text",
        type=path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="texts to count tokens in instead: .txt with a text a line, .jsonl or .parquet with a "
        "column `text`",
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the fit (default: 0)")


def add_whole_model_options(command: argparse.ArgumentParser) -> None:
    """Options about what of the model is compressed."""
    command.add_argument(
        "--matrices",
        choices=["embedding", "all"],
        default="embedding",
        help="what to compress (default: embedding); all is by ectcq",
    )
    command.add_argument(
        "--calibration",
        type=path,
        metavar="FILE",
        help="with --matrices all: a text a line, of the kind that the model will read",
    )


def start_progress() -> ProgressLine:
    """Progress on standard error; says beforehand if numerical code must be compiled."""
    from ..numerics.compiled import is_cached

    progress = ProgressLine()
    if not is_cached():
        progress("first call of this version: compiling numerical code takes about 10 s, once")
    return progress
