"""The command line: `embpress compress`, `inspect`, `budget` and `table`.

Parses and prints; the work is the library's.
"""

import argparse
import json
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import UserError
from .methods import FOLDER as METHODS
from .study.config import method_names

if (
    TYPE_CHECKING
):  # torch and transformers take seconds to import: a command imports them, `--help` does not
    from .export.inspection import Inspection
    from .export.ranking import Ranking

EXTRAS = {"faiss": "faiss", "pandas": "workflow"}
"""Optional packages that a command may need, and the extra of pyproject.toml that brings each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status.

    0, or 1 after an error that is the user's to mend.
    """
    parsed = parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except UserError as error:
        print(f"embpress: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `embpress inspect DIR | head`
        sys.stderr.close()
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
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


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="embpress",
        description="Compress the token embedding of a transformers model, and run the model on the compressed matrix.",
        epilog="Load what `compress` wrote with `embpress.load(DIR)` in Python.",
    )
    top.add_argument("--version", action="version", version=f"embpress {__version__}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _compress_parser(
        commands.add_parser(
            "compress", help="compress a model into one folder", description=COMPRESS
        )
    )
    _inspect_parser(
        commands.add_parser(
            "inspect", help="say what a folder holds, byte for byte", description=INSPECT
        )
    )
    _budget_parser(
        commands.add_parser(
            "budget", help="find the best method under so many megabytes", description=BUDGET
        )
    )
    _table_parser(
        commands.add_parser("table", help="print any slice of a study's scores", description=TABLE)
    )
    return top


COMPRESS = """Compress the embedding of a local transformers model (safetensors weights, one file or shards) and write the
whole model to one folder: config, tokenizer, the other weights as they were, the compressed matrix. An output head tied to
the embedding runs on the same matrix; an untied one stays dense."""
INSPECT = """Say what a compressed model's folder holds: tensors, types, shapes and bytes of the compressed matrix, what it
replaced, headers, and which other weights did not shrink, and why."""
BUDGET = """Fit methods so that each stores the embedding matrix in at most so many megabytes (10^6 bytes; the rest of the
model is not counted), rank them by the relative error weighted by token counts, and print the command that compresses with
the best."""

TABLE = """Print a study's scores and retention, all or a slice of them. Names of tasks and methods are those of its config;
labels.json must lie beside the scores."""


def _compress_parser(command: argparse.ArgumentParser) -> None:
    _source(command)
    command.add_argument("--method", required=True, help=f"one of {', '.join(method_names())}")
    command.add_argument(
        "--ratio",
        type=float,
        required=True,
        help="dense fp32 bits of the embedding / bits stored, at least; 10 is a tenth",
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
        help="folder to write, whole or not at all",
    )
    command.add_argument("--json", action="store_true", help="print sizes as JSON")
    command.set_defaults(run=compress)


def _inspect_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("folder", type=Path, metavar="DIR", help="folder that `compress` wrote")
    command.add_argument("--json", action="store_true", help="print everything as JSON")
    command.set_defaults(run=inspect)


def _budget_parser(command: argparse.ArgumentParser) -> None:
    _source(command)
    command.add_argument(
        "--megabytes",
        type=float,
        required=True,
        help="room for the embedding matrix, in 10^6 bytes",
    )
    command.add_argument(
        "--methods", metavar="A,B", help="methods to try; all but the controls if left out"
    )
    command.add_argument(
        "--scores",
        type=Path,
        metavar="CSV",
        help="a study's results/scores.csv: estimate the retention of scores too",
    )
    command.add_argument("--json", action="store_true", help="print the ranking as JSON")
    command.set_defaults(run=budget)


def _table_parser(command: argparse.ArgumentParser) -> None:
    command.add_argument("scores", type=Path, metavar="CSV", help="a study's results/scores.csv")
    for option, kind, what in (
        ("task", str, "task"),
        ("method", str, "method"),
        ("ratio", float, "ratio asked"),
    ):
        command.add_argument(
            f"--{option}",
            type=kind,
            action="append",
            default=[],
            help=f"only this {what}; may be given several times",
        )
    command.set_defaults(run=table)


def _source(command: argparse.ArgumentParser) -> None:
    """Options about the model that is to be compressed."""
    command.add_argument(
        "--model",
        type=Path,
        required=True,
        metavar="DIR",
        help="local folder in transformers' layout",
    )
    command.add_argument(
        "--counts",
        type=Path,
        metavar="FILE",
        help="token counts: .safetensors of the study, or .tsv or .json of token (or id) and count",
    )
    command.add_argument("--seed", type=int, default=0, help="seed of the fit (default 0)")


def options_of(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs; values are JSON (numbers, true, lists) or else plain text.

    Raises:
        UserError: if a pair has no `=`.
    """
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(
                f"--option {pair!r} is no KEY=VALUE: write for instance --option factor_dtype=float16"
            )
        try:
            options[key] = json.loads(value)
        except json.JSONDecodeError:
            options[key] = value
    return options


def compress(given: argparse.Namespace) -> None:
    """The command `compress`."""
    options = options_of(given.option)
    from .export.compress import compress_model

    done = compress_model(
        given.model,
        given.out,
        given.method,
        given.ratio,
        counts=given.counts,
        seed=given.seed,
        options=options,
        progress=_say,
    )
    if given.json:
        print(json.dumps(done.to_json(), indent=1))
        return
    rows: list[list[Any]] = [
        ["", "before", "after", "bits before / after"],
        [
            "embedding",
            done.embedding_before,
            done.embedding_after,
            done.embedding_before / max(done.embedding_after, 1),
        ],
        [
            "model",
            done.model_before,
            done.model_after,
            done.model_before / max(done.model_after, 1),
        ],
    ]
    print(_table([[_cell(c) for c in row] for row in rows]))
    print(
        f"ratio {done.ratio:.2f} (dense fp32 bits / bits stored) of a {done.shape[0]} x {done.shape[1]} embedding"
    )
    print(f"written to {done.out}; load it with embpress.load({str(done.out)!r})")


def inspect(given: argparse.Namespace) -> None:
    """The command `inspect`."""
    from .export.inspection import inspect as look

    found = look(given.folder)
    print(json.dumps(found.to_json(), indent=1) if given.json else _inspection(found))


def _inspection(found: "Inspection") -> str:
    """An inspection for the terminal."""
    rows, d = found.shape
    stored = [["tensor", "type", "shape", "bytes"]]
    stored += [
        [t.name, t.dtype, " x ".join(map(str, t.shape)), f"{t.bytes:,}"] for t in found.stored
    ]
    kept = [
        ["not compressed", "bytes", "why"],
        *([g.name, f"{g.bytes:,}", g.why] for g in found.kept),
    ]
    return "\n".join(
        [
            f"{found.architecture}, embedding {rows} x {d} compressed by {found.method} (layout {found.format})",
            f"runs in place of: {', '.join(found.replaced)}",
            "",
            _table(stored),
            "",
            f"embedding  {found.embedding_before:,} bytes as {found.embedding_before_dtype} -> {found.embedding_after:,}; "
            f"ratio {found.embedding_ratio:.2f} (dense fp32 bits / bits stored)",
            f"model      {found.model_before:,} bytes -> {found.model_after:,}; ratio {found.model_ratio:.2f} (as stored)",
            f"headers    {found.matrix_header:,} bytes of the matrix's files, {found.rest_header:,} of the other weights'",
            f"on disk    {sum(found.files.values()):,} bytes in {len(found.files)} files, tokenizer included",
            "",
            _table(kept),
        ]
    )


def budget(given: argparse.Namespace) -> None:
    """The command `budget`."""
    from .export.compress import open_source
    from .export.ranking import best_under

    methods = given.methods.split(",") if given.methods else None
    for name in methods or []:
        if name not in method_names():
            raise UserError(
                f"--methods: there is no method {name!r}; there are {', '.join(method_names())}"
            )
    source = open_source(given.model, given.counts, given.seed)
    found = best_under(
        source.matrix,
        given.megabytes,
        methods=methods,
        scores=given.scores,
        context=source.context,
        progress=_say,
    )
    command = _command(given, found)
    if given.json:
        ranked = [c.to_json() for c in found.candidates]
        print(
            json.dumps(
                {"ratio_asked": found.ratio_asked, "candidates": ranked, "command": command},
                indent=1,
            )
        )
        return
    print(_ranking(found))
    print(f"\nbest under {found.megabytes:g} MB: {found.best.method}\n{command}")


def _ranking(found: "Ranking") -> str:
    """A ranking for the terminal."""
    estimated = any(c.retention == c.retention for c in found.candidates)
    head = [
        "method",
        "bytes",
        "ratio",
        "weighted error" if found.counted else "error",
        "rel. error",
        "cosine",
    ]
    rows = [head + (["retention (estimate)"] if estimated else [])]
    notes = []
    for c in found.candidates:
        if not c.fits:
            notes.append(f"{c.method}: {c.note}")
            continue
        errors = [f"{v:.4f}" for v in (c.weighted_relative_error, c.relative_error, c.mean_cosine)]
        rows.append(
            [
                c.method,
                f"{c.bytes:,}",
                f"{c.ratio:.2f}",
                *errors,
                *([f"{c.retention:.1f} %"] if estimated else []),
            ]
        )
    lines = [
        f"at most {found.megabytes:g} MB (10^6 bytes) for the embedding matrix: ratio {found.ratio_asked:.2f} or more"
    ]
    if not found.counted:
        lines.append("no --counts: every row weighs alike, though texts need frequent tokens more")
    lines += ["", _table(rows), *([""] if notes else []), *notes]
    if estimated:
        lines += [
            "",
            "retention: share of the uncompressed score, read off the study's curve of weighted error against",
        ]
        lines.append(
            f"retention over all tasks; off by {found.retention_error:.1f} points on average for methods left out of it"
        )
    return "\n".join(lines)


def _command(given: argparse.Namespace, found: "Ranking") -> str:
    """The command that compresses with the winner, to the bit as it was fitted here."""
    words = ["embpress", "compress", "--model", given.model, "--method", found.best.method]
    words += ["--ratio", repr(found.ratio_asked)]
    words += ["--counts", given.counts] if given.counts else []
    words += ["--seed", given.seed] if given.seed else []
    return shlex.join(
        str(w) for w in [*words, "--out", f"{given.model.resolve().name}-{given.megabytes:g}MB"]
    )


def table(given: argparse.Namespace) -> None:
    """The command `table`."""
    from .analysis.scores import Labels, read, select
    from .report.tables import text_table

    beside = given.scores.with_name("labels.json")
    try:
        labels = Labels.from_json(json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{beside} holds no labels of a study ({error}): name a study's results/scores.csv"
        ) from error
    scores, labels = select(read(given.scores), labels, given.task, given.method, given.ratio)
    print(text_table(scores, labels, shutil.get_terminal_size((120, 0)).columns), end="")


def _say(message: str) -> None:
    """Progress, on standard error."""
    print(message, file=sys.stderr, flush=True)


def _cell(value: Any) -> str:
    """A number for people."""
    return (
        f"{value:.2f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _table(rows: list[list[str]]) -> str:
    """Columns side by side: numbers to the right, text to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = [
        all(c[:1].isdigit() and " x " not in c for row in rows[1:] if (c := row[i]))
        for i in range(len(rows[0]))
    ]
    lines = [
        [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right)] for row in rows
    ]
    return "\n".join("  ".join(line).rstrip() for line in lines)
