"""A study's config: checked against the schema and against itself before any job starts.

Imports no torch: the Snakefile reads this in an environment that may hold nothing but Snakemake.
"""

import difflib
import importlib.util
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import yaml

from . import task_data
from .errors import UserError
from .measures import ERRORS, metrics_of

METHODS = Path(__file__).parent / "methods"
CONTROLS = ("identity", "random", "mean")
IDENTITY = "identity"
SENSITIVITIES = ("fisher", "l1_sensitivity")
"""Weightings of rows that are measured on the model."""
SENSITIVITY_TOKENS = 32_768

Config = dict[str, Any]


def method_names() -> list[str]:
    """Names of the method files, found without importing them."""
    return sorted(p.stem for p in METHODS.glob("*.py") if p.stem not in ("__init__", "base"))


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
    _check_references(config, packages)
    _check_tasks(config)
    for name, entry in config["methods"].items():
        method = method_of(config, name)
        if method not in method_names():
            raise UserError(f"methods.{name}: there is no method {method!r}{_nearest(method, method_names())}")
        _check_options(name, method, entry.get("options", {}))
    if IDENTITY not in config["methods"]:
        raise UserError("methods: identity is missing; every score is compared with the uncompressed model's")
    _check_sensitivities(config)
    _check_claims(config)
    for name, entry in config["models"].items():
        if "package" not in entry:
            check_model_folder(Path(entry["path"]), f"models.{name}")


def _check_schema(config: Config, schema: Config) -> None:
    """Types, ranges and unknown keys."""
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(config))
    if error is None:
        return
    where = ".".join(str(p) for p in error.absolute_path) or "the config"
    if error.validator == "additionalProperties":
        known = list(error.schema["properties"])
        unknown = next(k for k in error.instance if k not in known)
        raise UserError(f"{where}: unknown key {unknown!r}{_nearest(str(unknown), known)}")
    if error.validator == "minimum" and "ratios" in where:
        raise UserError(f"{where}: ratio {error.instance} is below 1; a ratio is dense bits / stored bits")
    raise UserError(f"{where}: {error.message}")


def _check_references(config: Config, packages: dict[str, Any]) -> None:
    """Names that stand for entries elsewhere in the config."""
    known = packages | config.get("packages", {})
    sections = [("models", config["models"]), ("corpora", config["corpora"]), ("tasks", config["tasks"])]
    for section, entries in sections:
        for name, entry in entries.items():
            for package in packages_of(entry):
                _known(package, known, f"{section}.{name}: package", "packages")
    for name, model in config["models"].items():
        for corpus in model.get("vocabulary", {}).get("seen_in", []):
            _known(corpus, config["corpora"], f"models.{name}.vocabulary: corpus", "corpora")
    for name, task in config["tasks"].items():
        if name in config["models"]:
            raise UserError(f"tasks.{name}: a model has this name too; rename one, their folders would be the same")
        _known(task["model"], config["models"], f"tasks.{name}: model", "models")
        for corpus in [task["corpus"], *([task["data"]["corpus"]] if "corpus" in task["data"] else [])]:
            _known(corpus, config["corpora"], f"tasks.{name}: corpus", "corpora")
        for method in task.get("methods", []):
            _known(method, config["methods"], f"tasks.{name}: method", "methods")


def _check_tasks(config: Config) -> None:
    """Data of labelled tasks, and tasks that run on the checkpoint of another."""
    for name, task in config["tasks"].items():
        if task["kind"] not in task_data.LABELLED:
            continue
        task_data.check(name, task)
        if "checkpoint" not in task:
            continue
        where, trained = f"tasks.{name}.checkpoint", {t for t, e in config["tasks"].items() if "finetune" in e}
        _known(task["checkpoint"], trained, f"{where}: fine-tuned task", "tasks")
        other = config["tasks"][task["checkpoint"]]
        for key, mine, theirs in (
            ("model", task["model"], other["model"]),
            ("kind", task["kind"], other["kind"]),
            ("labels", task["data"].get("labels"), other["data"].get("labels")),
        ):
            if mine != theirs:
                raise UserError(f"{where}: {task['checkpoint']} has another `{key}`: a head answers to one set of labels")
        if "hub" not in task["data"] and task["data"]["test"] == other["data"].get("train"):
            raise UserError(f"{where}: {task['checkpoint']} was trained on `data.test` of this task: name other rows")


def _known(name: str, entries: Iterable[str], what: str, section: str) -> None:
    if name not in entries:
        raise UserError(f"{what} {name!r} is not under `{section}:`{_nearest(name, list(entries))}")


def _nearest(word: str, known: list[str]) -> str:
    """The end of a message: the likely meaning of a misspelt word, or all that there is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"


def _check_options(name: str, method: str, options: dict[str, Any]) -> None:
    """A method's options, where torch is installed beside Snakemake; elsewhere the fit's own job checks them."""
    if not options or importlib.util.find_spec("torch") is None:
        return
    from .methods import method_class

    try:
        method_class(method)(**options)
    except UserError as error:
        raise UserError(f"methods.{name}: {error}") from error


def _check_sensitivities(config: Config) -> None:
    """Rows can be weighted by a sensitivity only where the model predicts something."""
    for task in config["tasks"]:
        for variant in variants_of(config, task):
            if needs_sensitivity(config, variant) and not has_head(config, checkpoint_of(config, task)):
                weighting = config["methods"][variant]["options"]["weighting"]
                raise UserError(
                    f"tasks.{task}: {variant} weights rows by {weighting}, but the task's model has no head that predicts "
                    "tokens or labels: list the task's `methods` without it"
                )


def _check_claims(config: Config) -> None:
    """Every claim can be tested by what the study runs."""
    for name, claim in config.get("claims", {}).items():
        for i, entry in enumerate(claim["comparisons"]):
            _check_comparison(config, f"claims.{name}.comparisons.{i}", entry)


def _check_comparison(config: Config, where: str, entry: Config) -> None:
    """Variants and tasks exist and meet, the metric is one of theirs, and the ratios are run by both sides."""
    for variant in (entry["better"], *as_list(entry["worse"])):
        _known(variant, config["methods"], f"{where}: method", "methods")
    for task in as_list(entry["on"]):
        _known(task, config["tasks"], f"{where}: task", "tasks")
        for variant in (entry["better"], *as_list(entry["worse"])):
            if variant not in variants_of(config, task):
                raise UserError(f"{where}: {variant} does not run on {task}: add it to tasks.{task}.methods")
        measures = [*metrics_of(config["tasks"][task]), *ERRORS]
        if entry["by"] not in measures:
            raise UserError(f"{where}: {task} has no metric {entry['by']!r}{_nearest(entry['by'], measures)}")
    for worse in as_list(entry["worse"]):
        _check_ratios(config, where, entry["better"], worse, entry.get("ratios", []))


def _check_ratios(config: Config, where: str, better: str, worse: str, ratios: list[float]) -> None:
    """Two variants meet at the ratios at which they are to be compared."""
    if worse == better:
        raise UserError(f"{where}: {worse} is compared with itself: name another entry under `methods:`")
    common = _common_ratios(config, better, worse)
    if not common:
        raise UserError(f"{where}: {better} and {worse} run at no common ratio: give both the same `ratios`")
    for ratio in ratios:
        if ratio not in common:
            runs = ", ".join(f"{r:g}" for r in common if r is not None) or "none, as both are controls"
            raise UserError(f"{where}: {better} and {worse} do not both run at ratio {ratio:g}; they do at {runs}")


def check_model_folder(folder: Path, where: str) -> None:
    """A local checkpoint must have a config and a safetensors file with a matrix of vocabulary x hidden size.

    Raises:
        UserError: if it has not.
    """
    try:
        sizes = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {folder} holds no readable config.json ({error})") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{where}: {folder} holds no .safetensors file; pickled weights are not read")
    vocabulary, shapes = sizes.get("vocab_size"), [s for f in files for s in safetensors_shapes(f)]
    if not any(len(s) == 2 and s[0] == vocabulary for s in shapes):
        raise UserError(f"{where}: no matrix in {folder} has vocab_size ({vocabulary}) rows: the model has no embedding")


def safetensors_shapes(path: Path) -> list[list[int]]:
    """Shapes of the tensors of a safetensors file, from its header alone.

    Raises:
        UserError: if it is not a safetensors file.
    """
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, 100_000_000)))
        return [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a whole safetensors file: copy or download it again") from error


def packages_of(entry: Config) -> list[str]:
    """Packages that a model, corpus or task entry reads from."""
    names = [entry[key] for key in ("package",) if key in entry] + entry.get("packages", [])
    for part in ("tokenizer", "data"):
        names += packages_of(entry[part]) if isinstance(entry.get(part), dict) else []
    return names


def used_packages(config: Config) -> list[str]:
    """Packages that any model, corpus or task of a study reads from, sorted."""
    return sorted(
        {p for section in ("models", "corpora", "tasks") for e in config[section].values() for p in packages_of(e)}
    )


def method_of(config: Config, variant: str) -> str:
    """The method file behind an entry under `methods:`."""
    return config["methods"][variant].get("method", variant)


def is_control(config: Config, variant: str) -> bool:
    """Whether an entry is a control, which has no ratio."""
    return method_of(config, variant) in CONTROLS


def ratios_of(config: Config, variant: str) -> list[float]:
    """Ratios at which a variant runs; a control runs once."""
    return [1] if is_control(config, variant) else config["methods"][variant].get("ratios", config["ratios"])


def variants_of(config: Config, task: str) -> list[str]:
    """Entries under `methods:` that a task compares; the uncompressed model is always among them."""
    chosen = config["tasks"][task].get("methods", list(config["methods"]))
    return [v for v in config["methods"] if v in chosen or v == IDENTITY]


def compares_variants(config: Config) -> bool:
    """Whether any task runs two variants of one method at the same ratio: an ablation."""
    for task in config["tasks"]:
        variants = [v for v in variants_of(config, task) if not is_control(config, v)]
        runs = [(method_of(config, v), ratio) for v in variants for ratio in ratios_of(config, v)]
        if len(set(runs)) < len(runs):
            return True
    return False


def checkpoint_of(config: Config, task: str) -> str:
    """Name of the checkpoint that a task runs on: the model's own, or the one fine-tuned for the task or for another."""
    entry = config["tasks"][task]
    own = task if entry["protocol"] == "finetune_then_compress" else entry["model"]
    return entry.get("checkpoint", own)


def corpus_of(config: Config, checkpoint: str) -> str:
    """The corpus whose counts belong to a checkpoint: that of the first task that runs on it."""
    return next(config["tasks"][t]["corpus"] for t in config["tasks"] if checkpoint_of(config, t) == checkpoint)


def model_of(config: Config, checkpoint: str) -> str:
    """The model behind a checkpoint."""
    return config["tasks"][checkpoint]["model"] if checkpoint in config["tasks"] else checkpoint


def as_list(value: Any) -> list[Any]:
    """A value that may stand alone in the config, as a list."""
    return value if isinstance(value, list) else [value]


class Comparison(NamedTuple):
    """Two variants that a claim orders, on one task by one metric at one ratio asked (None: both are controls)."""

    claim: str
    better: str
    worse: str
    task: str
    by: str
    ratio: float | None


def comparisons_of(config: Config) -> list[Comparison]:
    """Every comparison that the claims of a study ask for, in their order."""
    return [
        Comparison(name, entry["better"], worse, task, entry["by"], ratio)
        for name, claim in config.get("claims", {}).items()
        for entry in claim["comparisons"]
        for worse in as_list(entry["worse"])
        for task in as_list(entry["on"])
        for ratio in entry.get("ratios", _common_ratios(config, entry["better"], worse))
    ]


def _common_ratios(config: Config, *variants: str) -> list[float | None]:
    """Ratios at which all variants run. Controls have no ratio: what they are compared with decides."""
    asked = [ratios_of(config, v) for v in variants if not is_control(config, v)]
    if not asked:
        return [None]
    return [r for r in sorted(asked[0]) if all(r in other for other in asked)]


def needs_sensitivity(config: Config, variant: str) -> bool:
    """Whether a variant weights rows by what is measured on the model."""
    return config["methods"][variant].get("options", {}).get("weighting") in SENSITIVITIES


def sensitivity_tokens(config: Config) -> int:
    """Tokens of text on which a model's sensitivity to its rows is measured."""
    return config.get("sensitivity", {}).get("tokens", SENSITIVITY_TOKENS)


def has_head(config: Config, checkpoint: str) -> bool:
    """Whether a checkpoint has a head that predicts tokens or labels: a fine-tuned classifier has, and a causal model."""
    if checkpoint in config["tasks"]:
        return config["tasks"][checkpoint]["kind"] == "classification"
    model = config["models"][checkpoint]
    return model["format"] == "gguf" or model.get("causal", False)


def read_yaml(path: Path) -> Config:
    """A YAML file, by the safe loader.

    Raises:
        UserError: if it is missing or not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from error
