"""Read and check the study, and define the inputs, parameters and wildcards of the rules."""

import copy
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

from embpress.analysis.published import read_published
from embpress.errors import UserError
from embpress.study import benchmarks, protocols, search
from embpress.study import config as study
from embpress.study import task_files as task_data
from embpress.study.code_digest import code_digest
from embpress.study.validation import check

PINNED = study.read_yaml(ROOT / "workflow/resources/packages.yaml")
DECLARED = study.read_yaml(ROOT / "workflow/resources/benchmarks.yaml")
GIVEN = copy.deepcopy(config)  # before entries of benchmarks are completed
try:
    for file in workflow.configfiles:
        # Refuses duplicate keys, which Snakemake's own reader accepts.
        study.read_yaml(Path(file))
    config["tasks"] = benchmarks.resolve(config.get("tasks"), DECLARED)
    config["tasks"] = protocols.resolve(config["tasks"])
    check(config, study.read_yaml(ROOT / "workflow/schemas/config.schema.yaml"), PINNED)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None
# Scores that the papers published, and their references.
PUBLISHED = str(ROOT / "workflow/resources/published.csv")
BIBLIOGRAPHY = str(ROOT / "workflow/resources/references.bib")
PACKAGES = PINNED | config.get("packages", {})
URLS = task_data.urls(config["tasks"])
# Tasks with variants that compress only the embedding, and with variants that compress layers.
EMBEDDINGS = study.tasks_compressing(config, whole_model=False)
WHOLE_MODELS = study.tasks_compressing(config, whole_model=True)


def names(entries):
    """A wildcard constraint that matches some names of the study, and nothing if there are none."""
    return "|".join(entries) or "(?!)"


wildcard_constraints:
    package=names(name.replace(".", r"\.") for name in PACKAGES),
    corpus=names(config["corpora"]),
    model=names(config["models"]),
    task=names(config["tasks"]),
    checkpoint=names([*config["models"], *config["tasks"]]),
    variant=names(config["methods"]),
    seed=r"\d+",
    split=names(task_data.SPLITS),
    sha256="[0-9a-f]{64}",
    ratio=r"[\d.]+",
    candidate=names(
        name.replace(".", r"\.").replace("+", r"\+")
        for task in study.searched_tasks(config)
        for name in search.candidates(config["tasks"][task]["finetune"])
    ),


def per_attempt(amount):
    """A resource that grows with each attempt, for jobs that ran out of memory or time.

    Profiles set the number of retries.
    """

    def of_attempt(wildcards, attempt):
        return amount * attempt

    return of_attempt


def wheels(entry):
    """Paths of the wheels that an entry of the study reads, by package name."""
    return {
        name: f"results/packages/{name}.whl"
        for name in dict.fromkeys(study.packages_of(entry))
    }


def corpus_wheels(wildcards):
    return wheels(config["corpora"][wildcards.corpus])


def model_inputs(wildcards):
    entry = config["models"][wildcards.model]
    seen_in = entry.get("vocabulary", {}).get("seen_in", [])
    downloaded = (
        {"hub": f"results/hub_models/{wildcards.model}"} if "hub" in entry else {}
    )
    return (
        wheels(entry)
        | downloaded
        | {f"words_{c}": f"results/frequency/{c}/words.tsv" for c in seen_in}
    )


def task_corpus_inputs(wildcards):
    task = config["corpora"][wildcards.corpus]["task"]
    entry = config["tasks"][task]
    return wheels(entry) | task_data.files_of(task, entry, task_data.SPLITS)


def streamed_folder(wildcards):
    entry = config["corpora"][wildcards.corpus]
    return entry.get("path", f"results/hub_corpora/{wildcards.corpus}")


def task_entry(wildcards):
    """The part of a task that its jobs depend on: without label, footnote and list of methods."""
    entry = config["tasks"][wildcards.task]
    return {k: v for k, v in entry.items() if k not in ("label", "methods", "footnote")}


def checkpoint_folder(checkpoint, seed):
    """The folder of a checkpoint, which has one for each seed if it is fine-tuned."""
    if checkpoint in config["tasks"]:
        return f"results/finetuned/{checkpoint}/seed{seed}"
    return f"results/models/{checkpoint}"


def counts_file(checkpoint):
    corpus, model = study.corpus_of(config, checkpoint), study.model_of(
        config, checkpoint
    )
    return f"results/frequency/{corpus}/tokens-{model}.safetensors"


def candidate_files(task):
    """Score files of the candidates for the settings of a task, in order.

    The search uses the first seed only.
    """
    folder = f"results/search/{task}/seed{config['seeds'][0]}"
    return [
        f"{folder}/{name}.json"
        for name in search.candidates(config["tasks"][task]["finetune"])
    ]


def task_titles(tasks):
    """Titles of tasks in tables: the labels of task and model."""
    entries = {task: config["tasks"][task] for task in tasks}
    return {
        task: f"{entry['label']}, {config['models'][entry['model']]['label']}"
        for task, entry in entries.items()
    }


def candidate_entry(wildcards):
    """The part of a task that the job of one candidate depends on, with its settings only."""
    entry = task_entry(wildcards)
    settings = search.candidates(entry["finetune"])[wildcards.candidate]
    return entry | {"finetune": settings}


def held_out_share(wildcards):
    return config["tasks"][wildcards.task]["finetune"][search.HELD_OUT]


def search_inputs(wildcards):
    entry = config["tasks"][wildcards.task]
    # Test rows are in an input only if one file holds both training and test rows.
    splits = task_data.SPLITS if task_data.is_one_file(entry) else ("train",)
    files = task_data.files_of(wildcards.task, entry, splits)
    return wheels(entry) | files | {"model": f"results/models/{entry['model']}"}


def finetune_inputs(wildcards):
    entry = config["tasks"][wildcards.task]
    files = task_data.files_of(wildcards.task, entry, task_data.SPLITS)
    inputs = wheels(entry) | files | {"model": f"results/models/{entry['model']}"}
    if wildcards.task in study.searched_tasks(config):
        inputs["candidates"] = candidate_files(wildcards.task)
    return inputs


def sensitivity_inputs(wildcards):
    corpus = study.corpus_of(config, wildcards.checkpoint)
    return {
        "checkpoint": checkpoint_folder(wildcards.checkpoint, wildcards.seed),
        "texts": f"results/corpora/{corpus}/counted.jsonl",
    }


def sensitive_kinds(wildcards):
    return study.sensitive_kinds(config, wildcards.checkpoint)


def layer_patterns(wildcards):
    """Patterns of layer names by kind that the study gives for a model; None without any."""
    return config["models"][study.model_of(config, wildcards.checkpoint)].get("modules")


def compress_inputs(wildcards):
    folder, seed = wildcards.checkpoint, wildcards.seed
    inputs = {
        "checkpoint": checkpoint_folder(folder, seed),
        "counts": counts_file(folder),
    }
    if study.needs_sensitivity(config, wildcards.variant):
        inputs["sensitivity"] = f"results/sensitivity/{folder}/seed{seed}.safetensors"
    return inputs


def artefacts(task, variant, seed):
    """Folders of a variant for a task, one for each ratio: fitted artefacts, or students."""
    # The uncompressed model is no student: students are compared with it.
    if (
        protocols.is_student(config["tasks"][task])
        and study.method_of(config, variant) != study.IDENTITY
    ):
        folder = f"students/{task}"
    else:
        folder = f"compressed/{study.checkpoint_of(config, task)}"
    return [
        f"results/{folder}/seed{seed}/{variant}/{ratio:g}"
        for ratio in study.ratios_of(config, variant)
    ]


def student_inputs(wildcards):
    """Inputs of a student: a fitted artefact or a student trained on text, models, and rows."""
    task, one = (
        wildcards.task,
        f"seed{wildcards.seed}/{wildcards.variant}/{wildcards.ratio}",
    )
    entry, source = config["tasks"][task], study.source_of(config, task)
    owner = protocols.text_owner(task, config["tasks"])
    inputs = (wheels(entry) | task_data.files_of(task, entry, task_data.SPLITS)) | {
        "start": (
            f"results/students_on_text/{owner}/{one}"
            if owner
            else f"results/compressed/{source}/{one}"
        ),
        "source": checkpoint_folder(source, wildcards.seed),
        "counts": counts_file(source),
    }
    if search.is_searched(entry.get("finetune", {})):
        inputs["candidates"] = candidate_files(entry["checkpoint"])
    if entry["protocol"] == "compress_then_distil":
        inputs["teacher"] = checkpoint_folder(entry["checkpoint"], wildcards.seed)
    return inputs


def text_stage(wildcards):
    """The part of a task that distillation on text depends on."""
    entry = config["tasks"][wildcards.task]
    return {
        "factors": entry["factors"],
        "distil": {"stage1": entry["distil"]["stage1"]},
    }


def text_student_inputs(wildcards):
    entry = config["tasks"][wildcards.task]
    one = f"seed{wildcards.seed}/{wildcards.variant}/{wildcards.ratio}"
    return {
        "start": f"results/compressed/{entry['model']}/{one}",
        "source": f"results/models/{entry['model']}",
        "counts": counts_file(entry["model"]),
        "texts": f"results/corpora/{entry['distil']['stage1']['corpus']}/counted.jsonl",
    }


def evaluate_inputs(wildcards):
    entry = config["tasks"][wildcards.task]
    inputs = wheels(entry) | {
        "checkpoint": checkpoint_folder(
            study.checkpoint_of(config, wildcards.task), wildcards.seed
        ),
        "artefacts": artefacts(wildcards.task, wildcards.variant, wildcards.seed),
    }
    inputs |= task_data.files_of(wildcards.task, entry, ("test",))
    if "corpus" in entry["data"]:
        inputs["held_out"] = f"results/corpora/{entry['data']['corpus']}/held_out.jsonl"
    return inputs


def evaluations():
    """One entry for each evaluation: task, variant, seed, outcomes, and the evaluated folders."""
    return [
        {
            "task": task,
            "variant": variant,
            "seed": seed,
            "outcomes": f"results/evaluation/{task}/seed{seed}/{variant}.safetensors",
            "artefacts": artefacts(task, variant, seed),
            "checkpoint": checkpoint_folder(study.checkpoint_of(config, task), seed),
            "counts": counts_file(study.checkpoint_of(config, task)),
        }
        for task in config["tasks"]
        for variant in study.variants_of(config, task)
        for seed in config["seeds"]
    ]


def score_inputs(wildcards):
    entries = evaluations()
    return {
        "outcomes": [entry["outcomes"] for entry in entries],
        "artefacts": sorted(
            {folder for entry in entries for folder in entry["artefacts"]}
        ),
        "checkpoints": sorted({entry["checkpoint"] for entry in entries}),
        "counts": sorted({entry["counts"] for entry in entries}),
    }


def speed_inputs(wildcards):
    inputs = score_inputs(wildcards)
    return {
        "scores": "results/scores.csv",
        "artefacts": inputs["artefacts"],
        "checkpoints": inputs["checkpoints"],
    }


def trained():
    """Folders of all models that the study trains: checkpoints, and students of both stages."""
    entries = evaluations()
    checkpoints = {entry["checkpoint"] for entry in entries}
    checkpoints -= {checkpoint_folder(model, None) for model in config["models"]}
    students = {
        folder: protocols.text_owner(entry["task"], config["tasks"])
        for entry in entries
        for folder in entry["artefacts"]
        if folder.startswith("results/students/")
    }
    on_text = {
        f"results/students_on_text/{owner}/{folder.split('/', 3)[3]}"
        for folder, owner in students.items()
        if owner
    }
    return sorted(checkpoints | on_text | set(students))


def figure_names():
    """Names of the figures for which the study has data, in the order of the documents."""
    shown = {
        "retention": EMBEDDINGS,
        "whole_models": WHOLE_MODELS,
        "pareto": EMBEDDINGS,
        "error_vs_score": EMBEDDINGS,
        "predictors": EMBEDDINGS,
        "error_vs_ratio": EMBEDDINGS,
        "error_by_decile": EMBEDDINGS,
        "spectra": True,
        "latency_vs_size": EMBEDDINGS,
        "ablations": study.compares_variants(config),
        "learning_curves": trained(),
        **{
            f"retention-{task}": task in EMBEDDINGS or task in WHOLE_MODELS
            for task in config["tasks"]
        },
    }
    return [name for name, has_any in shown.items() if has_any]


FIGURES = figure_names()


def figure_report(name):
    """The output of a figure, with caption and category for `snakemake --report`."""
    of_task = name.startswith("retention-")
    return report(
        f"results/figures/{name}.png",
        caption=f"../report/{'retention_of_task' if of_task else name}.rst",
        category="Figures",
        labels={"figure": name.replace("_", " ")},
    )


def code_of(script, *module_lists):
    """A parameter with the digest of the library code that the script of a job runs.

    Imports are read from the source of the script. Functions of the wildcards, `module_lists`,
    return the modules that the script loads by name.
    """
    path = ROOT / f"workflow/scripts/{script}.py"

    def digest(wildcards):
        by_name = {name for modules in module_lists for name in modules(wildcards)}
        return code_digest(path, *sorted(by_name))

    return digest


@lru_cache
def modules_of_variant(variant):
    return [f"embpress.methods.{name}" for name in study.methods_of(config, variant)]


def method_modules(wildcards):
    """Modules of the methods, and thereby formats, of a job's variant, or of all variants."""
    variants = (
        [wildcards.variant] if "variant" in wildcards.keys() else config["methods"]
    )
    return [name for variant in variants for name in modules_of_variant(variant)]


def task_modules(wildcards):
    """Modules of the kind of a job's task, or of all tasks."""
    tasks = [wildcards.task] if "task" in wildcards.keys() else config["tasks"]
    return {f"embpress.tasks.{config['tasks'][task]['kind']}" for task in tasks}
