"""The command `embpress export`: write an exported model in the format of another library."""

import argparse
from typing import Any

from ..errors import UserError
from ._output import print_result
from ._paths import path

EXPORT = """Write a folder that `compress` wrote in the format of another library. --onnx: the model
as one file. The compressed embedding (and a head with a code of its own) stays compressed: standard
operators gather the codes of a batch and decode them; formats without such operators are decoded
and stored as int8 rows. Layers that `--matrices all` has compressed are dense float32. onnxruntime
runs the file on a sample, and its outputs are compared with torch's, before it is written. --gguf
and --compressed-tensors: integer rows with exactly the same values."""


def add_export_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress export` to its parser."""
    command.add_argument("folder", type=path, metavar="DIR", help="folder that `compress` wrote")
    formats = command.add_mutually_exclusive_group()
    formats.add_argument("--onnx", type=path, metavar="FILE", help="the model as an ONNX file")
    formats.add_argument(
        "--gguf",
        type=path,
        metavar="FILE",
        help="the compressed matrices alone, such as token_embd.weight, as a GGUF file",
    )
    formats.add_argument(
        "--compressed-tensors",
        type=path,
        metavar="OUT",
        help="the model as a folder in the format pack-quantized of compressed-tensors",
    )
    command.add_argument(
        "--contrib",
        action="store_true",
        help="with --onnx: onnxruntime's own operator GatherBlockQuantized for 4 and 8 bits",
    )
    command.add_argument("--json", action="store_true", help="print the summary as JSON")
    command.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> None:
    """Run the command `export`.

    Raises:
        UserError: if no format is named, or the model cannot be written in it.
    """
    if arguments.contrib and arguments.onnx is None:
        raise UserError("--contrib needs --onnx: it is an operator of onnxruntime")
    summary: Any
    if arguments.onnx is not None:
        from ..integrations.onnx.export import export_onnx

        summary = export_onnx(arguments.folder, arguments.onnx, arguments.contrib)
    elif arguments.gguf is not None:
        from ..integrations.gguf_table import export_gguf

        summary = export_gguf(arguments.folder, arguments.gguf)
    elif arguments.compressed_tensors is not None:
        from ..integrations.compressed_tensors import export_compressed_tensors

        summary = export_compressed_tensors(arguments.folder, arguments.compressed_tensors)
    else:
        raise UserError(
            "export needs a format and a file: give --onnx, --gguf or --compressed-tensors, for "
            "example --onnx model.onnx"
        )
    print_result(summary, arguments.json, lambda written: written.render())
