"""The command `embpress inspect`."""

import argparse

from ._output import print_result
from ._paths import path

INSPECT = """Report the contents of a compressed model's folder: tensors, types, shapes and bytes of
the compressed matrix, the layers that run on it, headers, and why other weights were not
compressed."""


def add_inspect_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress inspect` to its parser."""
    command.add_argument("folder", type=path, metavar="DIR", help="folder that `compress` wrote")
    command.add_argument(
        "--memory",
        action="store_true",
        help="load the model in each way to decode, and report the peak memory (Linux)",
    )
    command.add_argument("--json", action="store_true", help="print everything as JSON")
    command.set_defaults(run=run_inspect)


def run_inspect(arguments: argparse.Namespace) -> None:
    """Run the command `inspect`."""
    from ..export.inspection import inspect
    from ..export.rendering import render_inspection

    inspection = inspect(arguments.folder, arguments.memory)
    print_result(inspection, arguments.json, render_inspection)
