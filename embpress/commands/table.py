"""The command `embpress table`."""

import argparse
import json
import shutil
from dataclasses import replace

from ..errors import UserError
from ._paths import path

TABLE = """Print scores and retention of a study, all or some of them. Tasks and methods have the
names of the study's config; labels.json must be in the same folder as the scores."""


BEST_SHOWN = "the best at a ratio of the methods shown, among those that reach it"
"""What a mark of the best means where methods are left out."""


def add_table_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress table` to its parser."""
    command.add_argument("scores", type=path, metavar="CSV", help="results/scores.csv of a study")
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


def run_table(arguments: argparse.Namespace) -> None:
    """Run the command `table`."""
    from ..analysis.scores import Labels, read_scores, select_scores
    from ..report.tables import main_table, to_text

    if not arguments.scores.is_file():
        raise UserError(f"there is no file {arguments.scores}: name a study's results/scores.csv")
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
    table = main_table(scores, labels)
    if arguments.method:
        table = replace(table, bold=BEST_SHOWN)
    print(to_text(table, width), end="")
