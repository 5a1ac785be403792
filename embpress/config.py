"""A study's config: checked against the schema and against itself before any job starts.

Imports no torch: the Snakefile reads this in an environment that may hold nothing but Snakemake.
"""

import difflib
import importlib.util
import json
import math
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import yaml

from . import protocols, task_data
from .errors import UserError
from .measures import ERRORS, metrics_of
from .module_choices import Choice, is_whole_model, with_preset
from .module_choices import choices_of as module_choices
from .modules import EMBEDDING, KINDS, check_pattern

METHODS = Path(__file__).parent / "methods"
CONTROLS = ("identity", "random", "mean")
IDENTITY = "identity"
SENSITIVITIES = ("fisher", "l1_sensitivity")
"""Weightings of rows that are measured on the model."""
SENSITIVITY_TOKENS = 32_768
LONGEST_MESSAGE = 300

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
    _check_numbers(config)
    _check_references(config, packages)
    _check_tasks(config)
    _check_methods(config)
    if IDENTITY not in config["methods"]:
        raise UserError("methods: identity is missing; every score is compared with the uncompressed model's")
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
                raise UserError(f"methods.{name}: `{key}` is of entries with `modules`, which name what is compressed")
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
        raise UserError(f"{where}: ratio {error.instance} is below 1; a ratio is dense bits / stored bits")
    raise UserError(f"{where}: {_cut(error.message)}")


def _cut(message: str) -> str:
    """A message that quotes what it found, without the middle of a long quotation."""
    half = LONGEST_MESSAGE // 2
    return message if len(message) <= LONGEST_MESSAGE else f"{message[:half]} ... {message[-half:]}"


def _check_numbers(value: Any, where: str = "") -> None:
    """Every number is one (the schema lets NaN through every limit), and a ratio has a folder's name of its own."""
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
        stage = task.get("distil", {}).get("stage1")
        of_text = [part["corpus"] for part in (task["data"], stage) if isinstance(part, dict) and "corpus" in part]
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
        if "checkpoint" not in task:
            continue
        where = f"tasks.{name}.checkpoint"
        trained = {t for t, e in config["tasks"].items() if "finetune" in e and not protocols.is_student(e)}
        _known(task["checkpoint"], trained, f"{where}: fine-tuned task", "tasks")
        other = config["tasks"][task["checkpoint"]]
        for key, mine, theirs in (
            ("model", task["model"], other["model"]),
            ("kind", task["kind"], other["kind"]),
            ("labels", list(task["data"].get("labels", [])), list(other["data"].get("labels", []))),
        ):
            if mine != theirs:
                raise UserError(f"{where}: {task['checkpoint']} has another `{key}`: a head answers to one set of labels")
        one_file = protocols.is_student(task) and task["data"] == other["data"]  # parted alike for both
        if not one_file and "hub" not in task["data"] and task["data"]["test"] == other["data"].get("train"):
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
            if needs_sensitivity(config, variant) and not has_head(config, source_of(config, task)):
                weighting = next(
                    w for c in choices_of(config, variant) if (w := c.options.get("weighting")) in SENSITIVITIES
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
                    raise UserError(f"averages.{name}: {tasks[0]} and {task} have different `{key}`s: average them apart")


def tasks_of_average(entry: Config) -> list[str]:
    """All tasks of an entry under `averages:`, those too that count as one."""
    return [task for group in entry["tasks"] for task in as_list(group)]


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


def _check_model(name: str, entry: Config) -> None:
    """A model comes from one place."""
    where = f"models.{name}"
    if ("hub" in entry) == ("path" in entry):
        raise UserError(f"{where}: name either `path` or `hub`")
    if "hub" in entry:
        if entry["format"] != "transformers" or "package" in entry:
            raise UserError(f"{where}: models of the hub have `format: transformers` and no `package`")
    elif "package" not in entry and entry["format"] == "transformers":
        check_model_folder(Path(entry["path"]), where)
    elif "package" not in entry and not Path(entry["path"]).is_file():
        raise UserError(f"{where}: there is no file {entry['path']}")
    for kind, pattern in entry.get("modules", {}).items():
        if kind not in KINDS[1:]:
            raise UserError(f"{where}.modules: there is no kind {kind!r}; there are {', '.join(KINDS[1:])}")
        check_pattern(pattern, f"{where}.modules.{kind}")


def _check_corpus(config: Config, name: str, entry: Config) -> None:
    """A task that is counted has training rows; a folder is there."""
    where = f"corpora.{name}"
    if entry["format"] == "folder" and not Path(entry["path"]).is_dir():
        raise UserError(f"{where}.path: there is no folder {entry['path']}")
    if entry["format"] == "task":
        trained = {t for t, e in config["tasks"].items() if e["kind"] in task_data.LABELLED and task_data.is_trained(e)}
        _known(entry["task"], trained, f"{where}: fine-tuned task", "tasks")
        for task in (t for t, e in config["tasks"].items() if e["data"].get("corpus") == name):
            raise UserError(f"tasks.{task}.data.corpus: {where} holds no texts out, as it has a task's; name another")


def corpora_of(config: Config, *formats: str) -> list[str]:
    """Names of the corpora that have one of some formats."""
    return [name for name, entry in config["corpora"].items() if entry["format"] in formats]


def check_model_folder(folder: Path, where: str) -> None:
    """A local checkpoint must have a config and a safetensors file with a matrix of vocabulary x hidden size.

    Raises:
        UserError: if it has not.
    """
    try:
        vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("vocab_size")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: {folder} holds no readable config.json ({error})") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(f"{where}: {folder} holds no .safetensors file; pickled weights are not read")
    shapes = [shape for file in files for shape in safetensors_shapes(file)]
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
        return [list(entry["shape"]) for name, entry in header.items() if name != "__metadata__"]
    except (OSError, struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
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
    return with_preset(variant, config["methods"][variant]).get("method", variant)


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
    """Whether any task runs two variants of one method for the embedding at the same ratio: an ablation."""
    for task in config["tasks"]:
        variants = [v for v in variants_of(config, task) if not is_control(config, v)]
        variants = [v for v in variants if not is_whole_model(config["methods"][v])]
        runs = [(method_of(config, v), ratio) for v in variants for ratio in ratios_of(config, v)]
        if len(set(runs)) < len(runs):
            return True
    return False


def checkpoint_of(config: Config, task: str) -> str:
    """Name of the uncompressed checkpoint of a task: the model's own, or the one fine-tuned for the task or for another."""
    entry = config["tasks"][task]
    own = task if entry["protocol"] == "finetune_then_compress" else entry["model"]
    return entry.get("checkpoint", own)


def source_of(config: Config, task: str) -> str:
    """Name of the checkpoint that is compressed for a task."""
    if protocols.is_student(config["tasks"][task]):
        return protocols.source_of(task, config["tasks"])
    return checkpoint_of(config, task)


def corpus_of(config: Config, checkpoint: str) -> str:
    """The corpus whose counts belong to a checkpoint: that of the first task that runs on it, or on what is made of it."""
    return next(
        config["tasks"][t]["corpus"]
        for t in config["tasks"]
        if checkpoint in (checkpoint_of(config, t), source_of(config, t))
    )


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


def choices_of(config: Config, variant: str) -> list[Choice]:
    """What a variant compresses, and by what: the embedding, or what its `modules` say."""
    entry = config["methods"][variant]
    if is_whole_model(entry):
        return module_choices(variant, entry)
    return [Choice(EMBEDDING, entry.get("method", variant), entry.get("options", {}), None)]


def has_whole_models(config: Config) -> bool:
    """Whether any variant compresses other matrices than the embedding."""
    return any(is_whole_model(entry) for entry in config["methods"].values())


def methods_of(config: Config, variant: str) -> list[str]:
    """Every method file that a variant runs, sorted."""
    return sorted({choice.method for choice in choices_of(config, variant)})


def needs_sensitivity(config: Config, variant: str) -> bool:
    """Whether a variant weights rows by what is measured on the model."""
    return any(choice.options.get("weighting") in SENSITIVITIES for choice in choices_of(config, variant))


def sensitive_kinds(config: Config, checkpoint: str) -> list[str]:
    """Kinds of linear layers whose rows are weighted by what is measured on a checkpoint, sorted."""
    on_it = {v for t in config["tasks"] if source_of(config, t) == checkpoint for v in variants_of(config, t)}
    weighted = [c for v in on_it for c in choices_of(config, v) if c.options.get("weighting") in SENSITIVITIES]
    return sorted({choice.kind for choice in weighted} - {EMBEDDING})


def sensitivity_tokens(config: Config) -> int:
    """Tokens of text on which a model's sensitivity to its rows is measured."""
    return config.get("sensitivity", {}).get("tokens", SENSITIVITY_TOKENS)


def has_head(config: Config, checkpoint: str) -> bool:
    """Whether a checkpoint has a head that predicts tokens or labels: a fine-tuned classifier has, and a causal model."""
    if checkpoint in config["tasks"]:
        return config["tasks"][checkpoint]["kind"] == "classification"
    model = config["models"][checkpoint]
    return model["format"] == "gguf" or model.get("causal", False)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which would let the last of two equal keys win without a word."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """See base class; a key that stands twice is an error. What `<<` merges in is no second one."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add((key.tag, str(key.value)))
        return node


def read_yaml(path: Path) -> Config:
    """A YAML file with keys at its top level, by the safe loader.

    Raises:
        UserError: if it is missing, no such YAML, or a key stands twice.
    """
    try:
        value = _StrictLoader(path.read_text(encoding="utf-8")).get_single_data()
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace("<unicode string>", path.name).split())
        raise UserError(f"{path} cannot be read as YAML ({reason}): mend it") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} has no keys at its top level: write `study:`, `seeds:` and so on")
    return value
