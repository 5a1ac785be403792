"""Check a study's config against the schema and against itself before any job starts.

Imports no torch: the Snakefile reads this in an environment that may hold nothing but Snakemake.
"""

import difflib
import importlib.util
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema

from ..errors import UserError
from ..safetensors_header import read_header
from . import protocols, search
from . import task_files as task_data
from .config import (
    IDENTITY,
    SENSITIVITIES,
    Config,
    as_list,
    choices_of,
    common_ratios,
    has_head,
    method_names,
    needs_sensitivity,
    packages_of,
    source_of,
    tasks_of_average,
    variants_of,
)
from .layer_kinds import KINDS, check_pattern
from .matrix_choices import is_whole_model
from .metric_names import ERRORS, metrics_of

LONGEST_MESSAGE = 300


def check(config: Config, schema: Config, packages: dict[str, Any]) -> None:
    """Check a whole config.

    Args:
        config: as read from YAML, its benchmarks spelled out by `benchmarks.resolve`.
        schema: JSON schema of the config.
        packages: the pinned packages that ship with the suite; the config's own are added to it.

    Raises:
        UserError: with the first thing found wrong, where it stands, and what would be right.
    """
    _check_schema(config, schema)
    _check_numbers(config)
    _check_references(config, packages)
    _check_tasks(config)
    _check_methods(config)
    if IDENTITY not in config["methods"]:
        raise UserError(
            "methods: identity is missing; every score is compared with the uncompressed model's"
        )
    _check_sensitivities(config)
    _check_averages(config)
    _check_claims(config)
    for name, entry in config["models"].items():
        _check_model(name, entry)
    for name, entry in config["corpora"].items():
        _check_corpus(config, name, entry)


def _check_methods(config: Config) -> None:
    """Methods, their options, and the matrices that they are to compress."""
    for name, entry in config["methods"].items():
        for key in ("budget", "share"):
            if key in entry and not is_whole_model(entry):
                raise UserError(
                    f"methods.{name}: `{key}` is of entries with `modules`, which name what is compressed"
                )
        for choice in choices_of(config, name):
            if choice.method not in method_names():
                raise UserError(
                    f"methods.{name}: there is no method {choice.method!r}{_nearest(choice.method, method_names())}"
                )
            _check_options(name, choice.method, choice.options)


def _check_schema(config: Config, schema: Config) -> None:
    """Types, ranges and unknown keys."""
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if not errors:
        return
    # What a student took from its teacher's entry is wrong there.
    tasks = config["tasks"] if isinstance(config.get("tasks"), dict) else {}
    students = [["tasks", name] for name, entry in tasks.items() if protocols.is_student(entry)]
    first = [error for error in errors if list(error.absolute_path)[:2] not in students]
    error = jsonschema.exceptions.best_match(first or errors)
    where = ".".join(str(p) for p in error.absolute_path) or "the config"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(k for k in error.instance if k not in known)
        raise UserError(f"{where}: unknown key {unknown!r}{_nearest(str(unknown), known)}")
    if error.validator == "minimum" and "ratios" in where:
        raise UserError(
            f"{where}: ratio {error.instance} is below 1; a ratio is dense bits / stored bits"
        )
    raise UserError(f"{where}: {_cut(error.message)}")


def _cut(message: str) -> str:
    """A message that quotes what it found, without the middle of a long quotation."""
    half = LONGEST_MESSAGE // 2
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:half]} ... {message[-half:]}"


def _check_numbers(value: Any, where: str = "") -> None:
    """Every number is one (the schema lets NaN through every limit).

    And a ratio has a folder's name of its own.
    """
    if isinstance(value, (dict, list)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            _check_numbers(part, f"{where}.{key}" if where else str(key))
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where}: {value} is no finite number")
    elif isinstance(value, float) and "ratios" in where and float(f"{value:g}") != value:
        raise UserError(f"{where}: ratio {value} has more than 6 digits: round it")


def _check_references(config: Config, packages: dict[str, Any]) -> None:
    """Names that stand for entries elsewhere in the config."""
    known = packages | config.get("packages", {})
    sections = [
        ("models", config["models"]),
        ("corpora", config["corpora"]),
        ("tasks", config["tasks"]),
    ]
    for section, entries in sections:
        for name, entry in entries.items():
            for package in packages_of(entry):
                _known(package, known, f"{section}.{name}: package", "packages")
    for name, model in config["models"].items():
        for corpus in model.get("vocabulary", {}).get("seen_in", []):
            _known(corpus, config["corpora"], f"models.{name}.vocabulary: corpus", "corpora")
    for name, task in config["tasks"].items():
        if name in config["models"]:
            raise UserError(
                f"tasks.{name}: a model has this name too; rename one, their folders would be the same"
            )
        _known(task["model"], config["models"], f"tasks.{name}: model", "models")
        stage = task.get("distil", {}).get("stage1")
        of_text = [
            part["corpus"]
            for part in (task["data"], stage)
            if isinstance(part, dict) and "corpus" in part
        ]
        for corpus in [task["corpus"], *of_text]:
            _known(corpus, config["corpora"], f"tasks.{name}: corpus", "corpora")
        for method in task.get("methods", []):
            _known(method, config["methods"], f"tasks.{name}: method", "methods")


def _check_tasks(config: Config) -> None:
    """Data of labelled tasks, and tasks that run on the checkpoint of another."""
    for name, task in config["tasks"].items():
        if task["kind"] not in task_data.LABELLED:
            continue
        task_data.check(name, task)
        protocols.check(name, config["tasks"])
        if "finetune" in task and not protocols.is_student(task):
            search.check(f"tasks.{name}.finetune", task["finetune"])
        if "checkpoint" not in task:
            continue
        where = f"tasks.{name}.checkpoint"
        trained = {
            t for t, e in config["tasks"].items() if "finetune" in e and not protocols.is_student(e)
        }
        _known(task["checkpoint"], trained, f"{where}: fine-tuned task", "tasks")
        other = config["tasks"][task["checkpoint"]]
        for key, mine, theirs in (
            ("model", task["model"], other["model"]),
            ("kind", task["kind"], other["kind"]),
            ("labels", list(task["data"].get("labels", [])), list(other["data"].get("labels", []))),
        ):
            if mine != theirs:
                raise UserError(
                    f"{where}: {task['checkpoint']} has another `{key}`: a head answers to one set of labels"
                )
        one_file = (
            protocols.is_student(task) and task["data"] == other["data"]
        )  # parted alike for both
        if (
            not one_file
            and "hub" not in task["data"]
            and task["data"]["test"] == other["data"].get("train")
        ):
            raise UserError(
                f"{where}: {task['checkpoint']} was trained on `data.test` of this task: name other rows"
            )


def _known(name: str, entries: Iterable[str], what: str, section: str) -> None:
    if name not in entries:
        raise UserError(f"{what} {name!r} is not under `{section}:`{_nearest(name, list(entries))}")


def _nearest(word: str, known: list[str]) -> str:
    """The end of a message: the likely meaning of a misspelt word, or all that there is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"


def _check_options(name: str, method: str, options: dict[str, Any]) -> None:
    """A method's options, where torch is installed beside Snakemake.

    Elsewhere the fit's own job checks them.
    """
    if not options or importlib.util.find_spec("torch") is None:
        return
    from ..methods import method_class

    try:
        method_class(method)(**options)
    except UserError as error:
        raise UserError(f"methods.{name}: {error}") from error


def _check_sensitivities(config: Config) -> None:
    """Rows can be weighted by a sensitivity only where the model predicts something."""
    for task in config["tasks"]:
        for variant in variants_of(config, task):
            if needs_sensitivity(config, variant) and not has_head(config, source_of(config, task)):
                weighting = next(
                    w
                    for c in choices_of(config, variant)
                    if (w := c.options.get("weighting")) in SENSITIVITIES
                )
                raise UserError(
                    f"tasks.{task}: {variant} weights rows by {weighting}, but the task's model has no head that predicts "
                    "tokens or labels: list the task's `methods` without it"
                )


def _check_averages(config: Config) -> None:
    """Tasks of an average exist, and one model does them all by one protocol."""
    for name, entry in config.get("averages", {}).items():
        if name in config["tasks"]:
            raise UserError(f"averages.{name}: a task has this name too; rename one")
        tasks = tasks_of_average(entry)
        for task in tasks:
            _known(task, config["tasks"], f"averages.{name}: task", "tasks")
            if "perplexity" in metrics_of(config["tasks"][task]):
                raise UserError(
                    f"averages.{name}: {task} is measured by perplexity, which is not averaged with other scores"
                )
            for key in ("model", "protocol"):
                if config["tasks"][task][key] != config["tasks"][tasks[0]][key]:
                    raise UserError(
                        f"averages.{name}: {tasks[0]} and {task} have different `{key}`s: average them apart"
                    )


def _check_claims(config: Config) -> None:
    """Every claim can be tested by what the study runs."""
    for name, claim in config.get("claims", {}).items():
        for i, entry in enumerate(claim["comparisons"]):
            _check_comparison(config, f"claims.{name}.comparisons.{i}", entry)


def _check_comparison(config: Config, where: str, entry: Config) -> None:
    """Variants and tasks exist and meet, the metric is one of theirs.

    And the ratios are run by both sides.
    """
    for variant in (entry["better"], *as_list(entry["worse"])):
        _known(variant, config["methods"], f"{where}: method", "methods")
    for task in as_list(entry["on"]):
        _known(task, config["tasks"], f"{where}: task", "tasks")
        for variant in (entry["better"], *as_list(entry["worse"])):
            if variant not in variants_of(config, task):
                raise UserError(
                    f"{where}: {variant} does not run on {task}: add it to tasks.{task}.methods"
                )
        measures = [*metrics_of(config["tasks"][task]), *ERRORS]
        if entry["by"] not in measures:
            raise UserError(
                f"{where}: {task} has no metric {entry['by']!r}{_nearest(entry['by'], measures)}"
            )
    for worse in as_list(entry["worse"]):
        _check_ratios(config, where, entry["better"], worse, entry.get("ratios", []))


def _check_ratios(config: Config, where: str, better: str, worse: str, ratios: list[float]) -> None:
    """Two variants meet at the ratios at which they are to be compared."""
    if worse == better:
        raise UserError(
            f"{where}: {worse} is compared with itself: name another entry under `methods:`"
        )
    common = common_ratios(config, better, worse)
    if not common:
        raise UserError(
            f"{where}: {better} and {worse} run at no common ratio: give both the same `ratios`"
        )
    for ratio in ratios:
        if ratio not in common:
            runs = (
                ", ".join(f"{r:g}" for r in common if r is not None) or "none, as both are controls"
            )
            raise UserError(
                f"{where}: {better} and {worse} do not both run at ratio {ratio:g}; they do at {runs}"
            )


def _check_model(name: str, entry: Config) -> None:
    """A model comes from one place."""
    where = f"models.{name}"
    if ("hub" in entry) == ("path" in entry):
        raise UserError(f"{where}: name either `path` or `hub`")
    if "hub" in entry:
        if entry["format"] != "transformers" or "package" in entry:
            raise UserError(
                f"{where}: models of the hub have `format: transformers` and no `package`"
            )
    elif "package" not in entry and entry["format"] == "transformers":
        check_model_folder(Path(entry["path"]), where)
    elif "package" not in entry and not Path(entry["path"]).is_file():
        raise UserError(f"{where}: there is no file {entry['path']}")
    for kind, pattern in entry.get("modules", {}).items():
        if kind not in KINDS[1:]:
            raise UserError(
                f"{where}.modules: there is no kind {kind!r}; there are {', '.join(KINDS[1:])}"
            )
        check_pattern(pattern, f"{where}.modules.{kind}")


def _check_corpus(config: Config, name: str, entry: Config) -> None:
    """A task that is counted has training rows; a folder is there."""
    where = f"corpora.{name}"
    if entry["format"] == "folder" and not Path(entry["path"]).is_dir():
        raise UserError(f"{where}.path: there is no folder {entry['path']}")
    if entry["format"] == "task":
        trained = {
            t
            for t, e in config["tasks"].items()
            if e["kind"] in task_data.LABELLED and task_data.is_trained(e)
        }
        _known(entry["task"], trained, f"{where}: fine-tuned task", "tasks")
        for task in (t for t, e in config["tasks"].items() if e["data"].get("corpus") == name):
            raise UserError(
                f"tasks.{task}.data.corpus: {where} holds no texts out, as it has a task's; name another"
            )


def check_model_folder(folder: Path, where: str) -> None:
    """A local checkpoint must have a config and a safetensors file with a matrix of vocabulary x
    hidden size.

    Raises:
        UserError: if it has not.
    """
    try:
        vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8")).get(
            "vocab_size"
        )
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: {folder} holds no readable config.json ({error})") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{where}: {folder} holds no .safetensors file; pickled weights are not read"
        )
    shapes = []
    for file in files:
        try:
            shapes += [tensor.shape for tensor in read_header(file).tensors.values()]
        except (OSError, ValueError) as error:
            raise UserError(
                f"{where}: {file} is not a valid safetensors file ({error}): download it again"
            ) from error
    if not any(len(s) == 2 and s[0] == vocabulary for s in shapes):
        raise UserError(
            f"{where}: no matrix in {folder} has vocab_size ({vocabulary}) rows: the model has no embedding"
        )
