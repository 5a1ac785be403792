"""What a study's config says: which variants, ratios, checkpoints and corpora belong together.

Imports no torch: the Snakefile reads this in an environment that may hold nothing but Snakemake.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from .. import methods
from ..errors import UserError
from . import protocols, search
from . import task_files as task_data
from .layer_kinds import EMBEDDING
from .matrix_choices import MatrixSpec, compresses_layers, matrix_specs, with_preset

CONTROLS = ("identity", "random_rows", "mean_row")
IDENTITY = "identity"
SENSITIVITIES = ("fisher", "l1_sensitivity")
"""Weightings of rows that are measured on the model."""
SENSITIVITY_TOKENS = 32_768

Config = dict[str, Any]


def method_names() -> list[str]:
    """Names of the method files, found without importing them."""
    return sorted([*methods.names(), *methods.aliases()])


def tasks_of_average(entry: Config) -> list[str]:
    """All tasks of an entry under `averages:`, those too that count as one."""
    return [task for group in entry["tasks"] for task in as_list(group)]


def corpora_of(config: Config, *formats: str) -> list[str]:
    """Names of the corpora that have one of some formats."""
    return [name for name, entry in config["corpora"].items() if entry["format"] in formats]


def packages_of(entry: Config) -> list[str]:
    """Packages that a model, corpus or task entry reads from."""
    names = [entry[key] for key in ("package",) if key in entry] + entry.get("packages", [])
    for part in ("tokenizer", "data"):
        names += packages_of(entry[part]) if isinstance(entry.get(part), dict) else []
    return names


def used_packages(config: Config) -> list[str]:
    """Packages that any model, corpus or task of a study reads from, sorted."""
    return sorted(
        {
            p
            for section in ("models", "corpora", "tasks")
            for e in config[section].values()
            for p in packages_of(e)
        }
    )


def method_of(config: Config, variant: str) -> str:
    """The method file behind an entry under `methods:`."""
    return methods.resolve_name(
        with_preset(variant, config["methods"][variant]).get("method", variant)
    )


def is_control(config: Config, variant: str) -> bool:
    """Whether an entry is a control, which has no ratio."""
    return method_of(config, variant) in CONTROLS


def ratios_of(config: Config, variant: str) -> list[float]:
    """Ratios at which a variant runs; a control runs once."""
    return (
        [1]
        if is_control(config, variant)
        else config["methods"][variant].get("ratios", config["ratios"])
    )


def variants_of(config: Config, task: str) -> list[str]:
    """Entries under `methods:` that a task compares.

    The uncompressed model is always among them.
    """
    chosen = config["tasks"][task].get("methods", list(config["methods"]))
    return [v for v in config["methods"] if v in chosen or v == IDENTITY]


def compares_variants(config: Config) -> bool:
    """Whether any task runs two variants of one method for the embedding at the same ratio.

    An ablation.
    """
    for task in config["tasks"]:
        variants = [v for v in variants_of(config, task) if not is_control(config, v)]
        variants = [v for v in variants if not compresses_layers(config["methods"][v])]
        runs = [(method_of(config, v), ratio) for v in variants for ratio in ratios_of(config, v)]
        if len(set(runs)) < len(runs):
            return True
    return False


def checkpoint_of(config: Config, task: str) -> str:
    """Name of the uncompressed checkpoint of a task.

    The model's own, or the one fine-tuned for the task or for another.
    """
    entry = config["tasks"][task]
    own = task if entry["protocol"] == "finetune_then_compress" else entry["model"]
    return entry.get("checkpoint", own)


def source_of(config: Config, task: str) -> str:
    """Name of the checkpoint that is compressed for a task."""
    if protocols.is_student(config["tasks"][task]):
        return protocols.source_of(task, config["tasks"])
    return checkpoint_of(config, task)


def searched_tasks(config: Config) -> list[str]:
    """Tasks for whose fine-tuning settings are searched, in their order."""
    trained = {
        t: e
        for t, e in config["tasks"].items()
        if task_data.is_trained(e) and not protocols.is_student(e)
    }
    return [
        task for task, entry in trained.items() if search.is_searched(entry.get("finetune", {}))
    ]


def corpus_of(config: Config, checkpoint: str) -> str:
    """The corpus whose counts belong to a checkpoint.

    That of the first task that runs on it, or on what is made of it.
    """
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
    """Two variants that a claim orders, on one task by one metric at one ratio asked (None.

    Both are controls).
    """

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
        for ratio in entry.get("ratios", common_ratios(config, entry["better"], worse))
    ]


def common_ratios(config: Config, *variants: str) -> list[float | None]:
    """Ratios at which all variants run.

    Controls have no ratio: what they are compared with decides.
    """
    asked = [ratios_of(config, v) for v in variants if not is_control(config, v)]
    if not asked:
        return [None]
    return [r for r in sorted(asked[0]) if all(r in other for other in asked)]


def matrix_specs_of(config: Config, variant: str) -> list[MatrixSpec]:
    """Specs of the matrices that a variant compresses: the embedding, or those of its `modules`."""
    entry = config["methods"][variant]
    if compresses_layers(entry):
        return matrix_specs(variant, entry)
    return [MatrixSpec(EMBEDDING, entry.get("method", variant), entry.get("options", {}), None)]


def tasks_compressing(config: Config, whole_model: bool) -> list[str]:
    """Tasks on which any variant, controls aside, compresses the embedding alone.

    Or other matrices than it.
    """
    methods = [v for v in config["methods"] if not is_control(config, v)]
    wanted = {v for v in methods if compresses_layers(config["methods"][v]) == whole_model}
    return [task for task in config["tasks"] if wanted & set(variants_of(config, task))]


def methods_of(config: Config, variant: str) -> list[str]:
    """Every method file that a variant runs, sorted."""
    return sorted({methods.resolve_name(spec.method) for spec in matrix_specs_of(config, variant)})


def needs_sensitivity(config: Config, variant: str) -> bool:
    """Whether a variant weights rows by what is measured on the model."""
    return any(
        spec.options.get("weighting") in SENSITIVITIES for spec in matrix_specs_of(config, variant)
    )


def sensitive_kinds(config: Config, checkpoint: str) -> list[str]:
    """Kinds of linear layers whose rows are weighted by what is measured on a checkpoint.

    Sorted.
    """
    on_it = {
        v
        for t in config["tasks"]
        if source_of(config, t) == checkpoint
        for v in variants_of(config, t)
    }
    weighted = [
        c
        for v in on_it
        for c in matrix_specs_of(config, v)
        if c.options.get("weighting") in SENSITIVITIES
    ]
    return sorted({spec.kind for spec in weighted} - {EMBEDDING})


def sensitivity_tokens(config: Config) -> int:
    """Tokens of text on which a model's sensitivity to its rows is measured."""
    return config.get("sensitivity", {}).get("tokens", SENSITIVITY_TOKENS)


def has_head(config: Config, checkpoint: str) -> bool:
    """Whether a checkpoint has a head that predicts tokens or labels.

    A fine-tuned classifier has, and a causal model.
    """
    if checkpoint in config["tasks"]:
        return config["tasks"][checkpoint]["kind"] == "classification"
    model = config["models"][checkpoint]
    return model["format"] == "gguf" or model.get("causal", False)


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which would let the last of two equal keys win without a word."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """See base class; a key that stands twice is an error.

        What `<<` merges in is no second one.
        """
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise yaml.MarkedYAMLError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
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
