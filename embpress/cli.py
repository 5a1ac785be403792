"""The command line: `embpress compress`, `inspect`, `budget`, `table`, `export`, `export-study`.

It parses arguments and prints results; the work is done by `export`, `integrations` and `report`.
"""

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import UserError
from .export.progress_line import ProgressLine
from .integrations.command import EXPORT, add_export_options
from .methods import FOLDER as METHODS
from .methods import TRIMMING, aliases, resolve_name
from .methods import names as method_names
from .pipeline.export_command import add_export_study

# torch and transformers take seconds to import: the commands import them, `--help` does not.
if TYPE_CHECKING:
    from .export.ranking import Ranking

EXTRAS = {
    "faiss": "faiss",
    "pandas": "workflow",
    "gguf": "gguf",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
}
"""Optional packages that a command may need, and the extra of pyproject.toml that installs each."""

COMPRESS = """Compress the embedding of a transformers model (safetensors weights) and write the
model to one folder: config, tokenizer, all other weights unchanged, and the compressed matrix. An
output head that is tied to the embedding runs on the same matrix; an untied one stays dense. With
--matrices all ECTCQ compresses linear layers, heads and position tables too, and stores what is
left in 16 bits."""
INSPECT = """Report the contents of a compressed model's folder: tensors, types, shapes and bytes of
the compressed matrix, the layers that run on it, headers, and why other weights were not
compressed."""
BUDGET = """Fit methods so that each stores the embedding matrix in at most so many megabytes (10^6
bytes; the other weights are not counted), rank them by the relative error weighted by token counts,
and print the command that compresses with the best."""
TABLE = """Print scores and retention of a study, all or some of them. Tasks and methods have the
names of the study's config; labels.json must be in the same folder as the scores."""


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
    _add_compress_options(compress)
    inspect = commands.add_parser(
        "inspect", help="report the size of everything in a folder", description=INSPECT
    )
    _add_inspect_options(inspect)
    budget = commands.add_parser(
        "budget", help="find the best method for a size limit", description=BUDGET
    )
    _add_budget_options(budget)
    table = commands.add_parser(
        "table", help="print all or some scores of a study", description=TABLE
    )
    _add_table_options(table)
    export = commands.add_parser(
        "export", help="write a compressed model for another library", description=EXPORT
    )
    add_export_options(export)
    add_export_study(commands)
    return parser


def _add_compress_options(command: argparse.ArgumentParser) -> None:
    _add_model_options(command)
    command.add_argument(
        "--method",
        help=f"one of {', '.join(method_names())}, or {TRIMMING}, which removes rare tokens from "
        "the tokenizer too (default: the best for the ratio)",
    )
    command.add_argument(
        "--ratio",
        type=float,
        required=True,
        help="dense fp32 bits of the embedding (of the model with --matrices all) / bits stored, "
        "at least; 10 means a tenth",
    )
    command.add_argument(
        "--matrices",
        choices=["embedding", "all"],
        default="embedding",
        help="what to compress (default: embedding); all is by ectcq",
    )
    command.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="with --matrices all: a text a line, of the kind that the model will read",
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"option of the method; see {METHODS.name}/NAME.py",
    )
    command.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder to write; nothing is written after an error",
    )
    command.add_argument("--json", action="store_true", help="print sizes as JSON")
    command.set_defaults(run=run_compress)


def _add_inspect_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="folder that `compress` wrote")
    command.add_argument(
        "--memory",
        action="store_true",
        help="load the model in each way to decode, and report the peak memory (Linux)",
    )
    command.add_argument("--json", action="store_true", help="print everything as JSON")
    command.set_defaults(run=run_inspect)


def _add_budget_options(command: argparse.ArgumentParser) -> None:
    _add_model_options(command)
    command.add_argument(
        "--megabytes",
        type=float,
        required=True,
        help="size limit of the embedding matrix, in 10^6 bytes",
    )
    command.add_argument(
        "--methods", metavar="A,B", help="methods to try (default: all but the controls)"
    )
    command.add_argument(
        "--scores",
        type=Path,
        metavar="CSV",
        help="results/scores.csv of a study: estimate the retention of scores too",
    )
    command.add_argument("--json", action="store_true", help="print the ranking as JSON")
    command.set_defaults(run=run_budget)


def _add_table_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("scores", type=Path, metavar="CSV", help="results/scores.csv of a study")
    options = (("task", str, "task"), ("method", str, "method"), ("ratio", float, "target ratio"))
    for option, value_type, name in options:
        command.add_argument(
            f"--{option}",
            type=value_type,
            action="append",
            default=[],
            help=f"only this {name}; may be given several times",
        )
    command.set_defaults(run=run_table)


def _add_model_options(command: argparse.ArgumentParser) -> None:
    """Options about the model to compress."""
    command.add_argument(
        "--model",
        required=True,
        metavar="MODEL",
        help="folder in transformers' or sentence-transformers' layout, or a model of the hub, "
        "owner/name or owner/name@revision",
    )
    command.add_argument(
        "--counts",
        type=Path,
        metavar="FILE",
        help="token counts: .safetensors of a study, or .tsv or .json of token (or id) and count",
    )
    command.add_argument(
        "--text",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="texts to count tokens in instead: .txt with a text a line, .jsonl or .parquet with a "
        "column `text`",
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the fit (default: 0)")


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
    from .export.compress import compress_model
    from .export.rendering import render_summary

    with closing(_start_progress()) as progress:
        summary = compress_model(
            arguments.model,
            arguments.out,
            arguments.method,
            arguments.ratio,
            counts=arguments.counts,
            texts=arguments.text,
            seed=arguments.seed,
            options=options,
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(summary.to_json(), indent=1))
    else:
        print(render_summary(summary))


def _run_compress_whole_model(arguments: argparse.Namespace, options: dict[str, Any]) -> None:
    """Run the command `compress` with `--matrices all`."""
    method = arguments.method
    if method is not None and resolve_name(method) != "entropy_coded_trellis":
        raise UserError(
            f"--matrices all needs --method ectcq, not {method}: the other methods compress "
            "the matrices of a whole model in studies (key `modules`)"
        )
    if options:
        raise UserError(f"--matrices all has no option {min(options)!r}: leave out --option")
    from .export.rendering import render_whole_model
    from .export.whole_model import compress_whole_model

    with closing(_start_progress()) as progress:
        summary = compress_whole_model(
            arguments.model,
            arguments.out,
            arguments.ratio,
            calibration=arguments.calibration,
            counts=arguments.counts,
            texts=arguments.text,
            seed=arguments.seed,
            progress=progress,
        )
    if arguments.json:
        print(json.dumps(summary.to_json(), indent=1))
    else:
        print(render_whole_model(summary))


def run_inspect(arguments: argparse.Namespace) -> None:
    """Run the command `inspect`."""
    from .export.inspection import inspect
    from .export.rendering import render_inspection

    inspection = inspect(arguments.folder, arguments.memory)
    if arguments.json:
        print(json.dumps(inspection.to_json(), indent=1))
    else:
        print(render_inspection(inspection))


def run_budget(arguments: argparse.Namespace) -> None:
    """Run the command `budget`."""
    methods = arguments.methods.split(",") if arguments.methods else None
    known = {*method_names(), *aliases()}
    for name in methods or []:
        if name not in known:
            raise UserError(
                f"--methods: there is no method {name!r}; there are {', '.join(method_names())}"
            )
    from .export.ranking import RankingSettings, rank_methods
    from .export.rendering import render_ranking

    with closing(_start_progress()) as progress:
        settings = RankingSettings(
            methods=methods,
            counts=arguments.counts,
            texts=arguments.text,
            scores=arguments.scores,
            seed=arguments.seed,
            progress=progress,
        )
        ranking = rank_methods(arguments.model, arguments.megabytes, settings)
    command = _compress_command(arguments, ranking)
    if arguments.json:
        output = {
            "target_ratio": ranking.target_ratio,
            "candidates": [candidate.to_json() for candidate in ranking.candidates],
            "command": command,
        }
        print(json.dumps(output, indent=1))
        return
    print(render_ranking(ranking))
    print(f"\nbest under {ranking.max_megabytes:g} MB: {ranking.best.method}\n{command}")


def _compress_command(arguments: argparse.Namespace, ranking: "Ranking") -> str:
    """The `compress` command that repeats the fit of the best method."""
    words = ["embpress", "compress", "--model", arguments.model, "--method", ranking.best.method]
    words += ["--ratio", repr(ranking.target_ratio)]
    words += ["--counts", arguments.counts] if arguments.counts else []
    words += ["--text", *arguments.text] if arguments.text else []
    words += ["--seed", arguments.seed] if arguments.seed else []
    for name, value in ranking.best.options.items():
        words += ["--option", f"{name}={value}"]
    words += ["--out", f"{_short_name(arguments.model)}-{arguments.megabytes:g}MB"]
    return shlex.join(str(word) for word in words)


def run_table(arguments: argparse.Namespace) -> None:
    """Run the command `table`."""
    from .analysis.scores import Labels, read_scores, select_scores
    from .report.tables import main_table, to_text

    file = arguments.scores.with_name("labels.json")
    try:
        labels = Labels.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} contains no labels of a study ({error}): name a study's results/scores.csv"
        ) from error
    scores = read_scores(arguments.scores)
    if not arguments.method:
        labels = labels.at_best()
        scores = labels.rows(scores)
    scores, labels = select_scores(
        scores, labels, arguments.task, arguments.method, arguments.ratio
    )
    width = shutil.get_terminal_size((120, 0)).columns
    print(to_text(main_table(scores, labels), width), end="")


def _short_name(model: str) -> str:
    """Name of a model's folder, or of a model of the hub without owner and revision."""
    folder = Path(model)
    return folder.resolve().name if folder.is_dir() else model.split("@")[0].split("/")[-1]


def _start_progress() -> ProgressLine:
    """Progress on standard error; says beforehand if numerical code must be compiled."""
    from .numerics.compiled import is_cached

    progress = ProgressLine()
    if not is_cached():
        progress("first call of this version: compiling numerical code takes about 10 s, once")
    return progress
