"""Reads and checks the study before anything else; names of its entries, and digests of the code that jobs run."""

import re
import sys
from functools import lru_cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

# Not `workflow.basedir`: that is another workflow's folder where this one is included as a module.
ROOT = Path(str(workflow.current_basedir)).parents[1]
if not (ROOT / "embpress").is_dir():
    raise WorkflowError(f"no library at {ROOT}/embpress: use a local clone of embpress")
# Jobs import the library from this folder; it is not installed.
sys.path.insert(0, str(ROOT))

from embpress.errors import UserError
from embpress.methods import module_name
from embpress.study.code_digest import code_digest
from embpress.study.loading import load_study, read_pins
from embpress.study.yaml_files import read_yaml
from embpress.tasks import parse_entry

BENCHMARKS = read_yaml(ROOT / "workflow/resources/benchmarks.yaml")
PINS = read_pins(read_yaml(ROOT / "workflow/resources/packages.yaml"))
try:
    for file in workflow.configfiles:
        read_yaml(Path(file))  # stricter than Snakemake, which has read it already
    STUDY = load_study(config, BENCHMARKS, PINS, parse_entry)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None
STUDY_JSON = STUDY.to_json()
# Scripts read it from the config: as a parameter of rules, another device would run them again.
config["device"] = STUDY.device
config["tasks_of_models"] = {
    model: {
        name: task.job_settings()
        for name, task in STUDY.tasks.items()
        if task.model == model
    }
    for model in STUDY.models
}
PACKAGES = PINS | STUDY.packages
URLS = {
    sha256: url for task in STUDY.tasks.values() for sha256, url in task.urls.items()
}
SEARCHED = STUDY.searched_tasks()
# Tasks with variants that compress the embedding only, and with variants that compress layers.
EMBEDDINGS = STUDY.tasks_compressing(layers=False)
WHOLE_MODELS = STUDY.tasks_compressing(layers=True)
# Checkpoints that are compressed by the counts of a second corpus, as regular expressions.
SECOND_FITS = [re.escape(fit) for fit in STUDY.second_fits()]
# What the papers published, and how they are cited.
PUBLISHED = str(ROOT / "workflow/resources/published.csv")
BIBLIOGRAPHY = str(ROOT / "workflow/resources/references.bib")


def names(entries):
    """A wildcard constraint: exactly the given names, of which there may be none."""
    return "|".join(entries) or "(?!)"


def as_json(entry):
    """A typed entry as plain JSON, as `params` of a rule: exactly the keys that the study gives."""
    return entry.model_dump(mode="json", by_alias=True, exclude_unset=True)


def per_attempt(amount):
    """A resource that grows with each retry, for jobs that ran out of it. The number of retries is set in profiles."""

    def of_attempt(wildcards, attempt):
        return amount * attempt

    return of_attempt


def code_of(script, *module_lists):
    """A parameter that changes with the library code that a script runs, so that its results are never stale.

    Imports are read from the script. Modules that it loads by name are given by functions of the wildcards.
    """
    path = ROOT / f"workflow/scripts/{script}.py"

    def digest(wildcards):
        by_name = {name for modules in module_lists for name in modules(wildcards)}
        return code_digest(path, *sorted(by_name))

    return digest


@lru_cache
def modules_of_variant(variant):
    return [module_name(name) for name in STUDY.variants[variant].methods]


def method_modules(wildcards):
    """Modules of the methods, and thereby formats, of a job's variant, or of all variants."""
    variants = [wildcards.variant] if "variant" in wildcards.keys() else STUDY.variants
    return [name for variant in variants for name in modules_of_variant(variant)]


def task_modules(wildcards):
    """Modules of the kind of a job's task, or of all tasks."""
    tasks = [wildcards.task] if "task" in wildcards.keys() else STUDY.tasks
    return {f"embpress.tasks.{STUDY.tasks[task].kind}" for task in tasks}
