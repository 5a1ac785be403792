"""The command line: `embpress compress`, `inspect`, `budget`, `table`, `export`, `export-study`."""

import argparse
import sys
from collections.abc import Sequence

from . import __version__
from .commands.budget import BUDGET, add_budget_options
from .commands.compress import COMPRESS, add_compress_options
from .commands.export import EXPORT, add_export_options
from .commands.export_study import EXPORT_STUDY, add_export_study_options
from .commands.inspect import INSPECT, add_inspect_options
from .commands.table import TABLE, add_table_options
from .errors import UserError

EXTRAS = {
    "faiss": "faiss",
    "pandas": "workflow",
    "gguf": "gguf",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}
"""Optional packages that a command may need, and the extra of pyproject.toml that installs each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words of the command line after the program's name; None means sys.argv.

    Returns:
        The exit status: 0 after success, 1 after a user error, 130 after Ctrl-C.
    """
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except BrokenPipeError:  # `embpress inspect DIR | head`
        sys.stderr.close()
        return 0
    except (UserError, OSError) as error:  # OSError: a full disk, a folder without write permission
        print(f"embpress: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        extra = EXTRAS[error.name]
        print(
            f"embpress: {error.name} is not installed: run `pip install 'embpress[{extra}]'`",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands and their options."""
    parser = argparse.ArgumentParser(
        prog="embpress",
        description="Compress the token embedding of a transformers model, and run the model on "
        "the compressed matrix.",
        epilog="Load what `compress` wrote with `embpress.load(DIR)` in Python.",
    )
    parser.add_argument("--version", action="version", version=f"embpress {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    compress = commands.add_parser(
        "compress", help="compress a model into one folder", description=COMPRESS
    )
    add_compress_options(compress)
    inspect = commands.add_parser(
        "inspect", help="report the size of everything in a folder", description=INSPECT
    )
    add_inspect_options(inspect)
    budget = commands.add_parser(
        "budget", help="find the best method for a size limit", description=BUDGET
    )
    add_budget_options(budget)
    table = commands.add_parser(
        "table", help="print all or some scores of a study", description=TABLE
    )
    add_table_options(table)
    export = commands.add_parser(
        "export", help="write a compressed model for another library", description=EXPORT
    )
    add_export_options(export)
    study = commands.add_parser(
        "export-study",
        help="write a compressed model of a study into one folder",
        description=EXPORT_STUDY,
    )
    add_export_study_options(study)
    return parser
