"""The command `embpress export-study`: write a compressed model of a study into one folder."""

import argparse

from ._paths import path

EXPORT_STUDY = """Write a model that a study has compressed, offline or trained further, into one
folder, as `compress` does: of the embedding alone, or of layers too, whose other weights are then
stored in 16 bits. Tasks and methods have the names of the study's config."""


def add_export_study_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `embpress export-study` to its parser."""
    command.add_argument(
        "results", type=path, metavar="RESULTS", help="folder of results of a finished study"
    )
    command.add_argument("--task", required=True, help="name of a task of the study")
    command.add_argument("--method", required=True, help="name of an entry under `methods:`")
    command.add_argument(
        "--ratio", type=float, help="target ratio; not needed if the entry has only one"
    )
    command.add_argument("--seed", type=int, help="seed (default: the first of the study)")
    command.add_argument("--out", type=path, required=True, metavar="DIR", help="folder to write")
    command.set_defaults(run=run_export_study)


def run_export_study(arguments: argparse.Namespace) -> None:
    """Run the command `export-study`."""
    from ..export.inspection import inspect
    from ..export.rendering import render_inspection
    from ..pipeline.study_export import StudyResult, export_study_result

    chosen = StudyResult(arguments.task, arguments.method, arguments.ratio, arguments.seed)
    export_study_result(arguments.results, chosen, arguments.out)
    print(render_inspection(inspect(arguments.out)))
