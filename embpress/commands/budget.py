"""The command `embpress budget`."""

import argparse
import json
import shlex
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..methods import resolve_name
from ._model_options import add_model_options, add_whole_model_options, start_progress
from ._paths import path

if TYPE_CHECKING:
    from ..export.ranking import Ranking
    from ..export.whole_model_ranking import WholeModelRanking

BUDGET = """Fit methods so that each stores the embedding matrix in at most so many megabytes (10^6
bytes; the other weights are not counted), rank them by the relative error weighted by token counts,
and print the command that compresses with the best. With --matrices all the megabytes are those of
the whole model, whose codes are ranked by the divergence from the dense model that is expected on
calibration texts."""


def add_budget_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress budget` to its parser."""
    add_model_options(command)
    command.add_argument(
        "--megabytes",
        type=float,
        required=True,
        help="size limit of the embedding matrix, or with --matrices all of all weights, in 10^6 "
        "bytes",
    )
    add_whole_model_options(command)
    command.add_argument(
        "--methods", metavar="A,B", help="methods to try (default: all but the controls)"
    )
    command.add_argument(
        "--scores",
        type=path,
        metavar="CSV",
        help="results/scores.csv of a study: estimate the retention of scores too",
    )
    command.add_argument("--json", action="store_true", help="print the ranking as JSON")
    command.set_defaults(run=run_budget)


def run_budget(arguments: argparse.Namespace) -> None:
    """Run the command `budget`."""
    if arguments.matrices == "all":
        _run_budget_of_whole_model(arguments)
        return
    if arguments.calibration:
        raise UserError("--calibration needs --matrices all: the embedding alone reads no texts")
    methods = arguments.methods.split(",") if arguments.methods else None
    for name in methods or []:
        try:
            resolve_name(name)
        except UserError as error:
            raise UserError(f"--methods: {error}") from error
    from ..export.ranking import RankingSettings, rank_methods
    from ..export.rendering import render_ranking

    with closing(start_progress()) as progress:
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


def _run_budget_of_whole_model(arguments: argparse.Namespace) -> None:
    """Run the command `budget` with `--matrices all`."""
    for option in ("methods", "scores"):
        if getattr(arguments, option):
            raise UserError(f"--matrices all compares codes of one method: leave out --{option}")
    from ..export.rendering import render_whole_model_ranking
    from ..export.whole_model_ranking import rank_whole_models

    with closing(start_progress()) as progress:
        ranking = rank_whole_models(
            arguments.model,
            arguments.megabytes,
            calibration=arguments.calibration,
            counts=arguments.counts,
            texts=arguments.text,
            seed=arguments.seed,
            progress=progress,
        )
    command = _compress_command(arguments, ranking)
    if arguments.json:
        print(json.dumps(ranking.to_json() | {"command": command}, indent=1))
        return
    print(render_whole_model_ranking(ranking))
    print(f"\nbest under {ranking.max_megabytes:g} MB: {ranking.best.label}\n{command}")


def _compress_command(arguments: argparse.Namespace, ranking: "Ranking | WholeModelRanking") -> str:
    """The `compress` command that repeats the fit of the best method."""
    words = ["embpress", "compress", "--model", arguments.model, "--method", ranking.best.method]
    words += ["--ratio", repr(ranking.target_ratio)]
    if arguments.matrices == "all":
        words += ["--matrices", "all"]
        words += ["--calibration", arguments.calibration] if arguments.calibration else []
    words += ["--counts", arguments.counts] if arguments.counts else []
    words += ["--text", *arguments.text] if arguments.text else []
    words += ["--seed", arguments.seed] if arguments.seed else []
    for name, value in ranking.best.options.items():
        words += ["--option", f"{name}={json.dumps(value) if isinstance(value, bool) else value}"]
    words += ["--out", f"{_short_name(arguments.model)}-{arguments.megabytes:g}MB"]
    return shlex.join(str(word) for word in words)


def _short_name(model: str) -> str:
    """Name of a model's folder, or of a model of the hub without owner and revision."""
    folder = Path(model)
    return folder.resolve().name if folder.is_dir() else model.split("@")[0].split("/")[-1]
