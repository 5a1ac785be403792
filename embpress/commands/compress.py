"""The command `embpress compress`."""

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ..errors import UserError
from ..methods import FOLDER as METHODS
from ..methods import TRIMMING, WHOLE_MODELS, describe_names, resolve_name
from ._model_options import add_model_options, add_whole_model_options, start_progress
from ._output import print_result
from ._paths import path

COMPRESS = """Compress the embedding of a transformers model (safetensors weights) and write the
model to one folder: config, tokenizer, all other weights unchanged, and the compressed matrix. An
output head that is tied to the embedding runs on the same matrix; an untied one stays dense. With
--matrices all ECTCQ compresses linear layers, heads and position tables too, and stores what is
left in 16 bits."""


def add_compress_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress compress` to its parser."""
    add_model_options(command)
    command.add_argument(
        "--method",
        help=f"one of {describe_names()}, or {TRIMMING}, which removes rare tokens from the "
        "tokenizer too; short names in brackets (default: the best for the ratio)",
    )
    command.add_argument(
        "--ratio",
        type=float,
        required=True,
        help="dense fp32 bits of the embedding (of the model with --matrices all) / bits stored, "
        "at least; 10 means a tenth",
    )
    add_whole_model_options(command)
    command.add_argument(
        "--matrix",
        metavar="NAME",
        help="compress the table of this embedding layer instead of the input embedding; its rows "
        "are read from the file",
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"option of the method; see {METHODS.name}/NAME.py (--matrices all: _code_options.py)",
    )
    command.add_argument(
        "--head",
        metavar="METHOD@RATIO",
        help="a code of its own for an output head that is tied to the embedding; the ratio that "
        "is reported counts both matrices",
    )
    command.add_argument(
        "--out",
        type=path,
        required=True,
        metavar="DIR",
        help="folder to write; nothing is written after an error",
    )
    command.add_argument("--json", action="store_true", help="print sizes as JSON")
    command.set_defaults(run=run_compress)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse `key=value` pairs, whose values are JSON (numbers, true, lists) or else plain text.

    Raises:
        UserError: if a pair has no `=` or no key.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(
                f"--option {pair!r} is not KEY=VALUE: write for instance "
                "--option factor_dtype=float16"
            )
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


def run_compress(arguments: argparse.Namespace) -> None:
    """Run the command `compress`."""
    options = parse_options(arguments.option)
    if arguments.matrices == "all":
        _run_compress_whole_model(arguments, options)
        return
    if arguments.calibration:
        raise UserError("--calibration needs --matrices all: the embedding alone reads no texts")
    from ..export.compress import compress_model
    from ..export.rendering import render_summary

    with closing(start_progress()) as progress:
        summary = compress_model(
            arguments.model,
            arguments.out,
            arguments.method,
            arguments.ratio,
            counts=arguments.counts,
            texts=arguments.text,
            seed=arguments.seed,
            options=options,
            head=arguments.head,
            matrix=arguments.matrix,
            progress=progress,
        )
    print_result(summary, arguments.json, render_summary)


def _run_compress_whole_model(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    """Run the command `compress` with `--matrices all`."""
    method = arguments.method
    if method is not None and resolve_name(method) != WHOLE_MODELS:
        raise UserError(
            f"--matrices all needs --method ectcq, not {method}: the other methods compress "
            "the matrices of a whole model in studies (key `modules`)"
        )
    if arguments.matrix:
        raise UserError("--matrices all codes all tables too: leave out --matrix")
    if arguments.head:
        raise UserError("--matrices all codes every matrix at one level: leave out --head")
    from ..export.rendering import render_whole_model
    from ..export.whole_model import compress_whole_model

    with closing(start_progress()) as progress:
        summary = compress_whole_model(
            arguments.model,
            arguments.out,
            arguments.ratio,
            calibration=arguments.calibration,
            counts=arguments.counts,
            texts=arguments.text,
            seed=arguments.seed,
            options=options,
            progress=progress,
        )
    print_result(summary, arguments.json, render_whole_model)
