"""Read a whole config: benchmarks and students resolved, types and references checked.

Imports no torch: the Snakefile runs in an environment that may hold nothing but Snakemake.
"""

from collections.abc import Mapping

from ..errors import UserError
from .benchmarks import resolve_benchmarks
from .checks import check_study
from .model_entry import PackagePin
from .protocols import RawTask, resolve_students
from .study import ParseEntry, RawConfig, Study


def load_study(
    config: RawConfig,
    benchmarks: Mapping[str, RawTask],
    pins: Mapping[str, PackagePin],
    parse_entry: ParseEntry,
) -> Study:
    """The checked study of a config.

    Args:
        config: as YAML holds it.
        benchmarks: declared benchmarks by name (workflow/resources/benchmarks.yaml).
        pins: pinned packages of the suite (workflow/resources/packages.yaml).
        parse_entry: gives the typed entry of a task (`embpress.tasks.parse_entry`).

    Raises:
        UserError: with the place, the culprit and the remedy of the first fault.
    """
    tasks = config.get("tasks")
    if tasks is not None and not isinstance(tasks, dict):
        raise UserError(f"tasks: {tasks!r} is not a mapping: write an entry for each task")
    tasks = resolve_students(resolve_benchmarks(tasks or {}, benchmarks))
    study = Study.from_config({**config, "tasks": tasks}, parse_entry)
    check_study(study, pins)
    return study


def read_pins(value: Mapping[str, object]) -> dict[str, PackagePin]:
    """Typed pins of packages."""
    return {name: PackagePin.model_validate(pin) for name, pin in value.items()}
