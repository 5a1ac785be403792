"""The command `embpress export`: write an exported model in the format of another library."""

import argparse
import json
from pathlib import Path

from ..errors import UserError

EXPORT = """Write a folder that `compress` wrote as one ONNX file. The embedding stays compressed:
standard operators gather the codes of a batch and decode them. Formats without such operators are
decoded and stored as int8 rows. onnxruntime runs the file on a sample, and its outputs are compared
with torch's, before it is written."""


def add_export_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress export` to its parser."""
    command.add_argument("folder", type=Path, metavar="DIR", help="folder that `compress` wrote")
    command.add_argument("--onnx", type=Path, metavar="FILE", help="ONNX file to write")
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
    if arguments.onnx is None:
        raise UserError("embpress export: name the file to write, for example --onnx model.onnx")
    from .onnx.export import export_onnx

    summary = export_onnx(arguments.folder, arguments.onnx, arguments.contrib)
    if arguments.json:
        print(json.dumps(summary.to_json(), indent=1))
    else:
        print(summary.render())
