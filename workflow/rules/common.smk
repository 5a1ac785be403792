"""Reads and checks the config before anything else, and says which files each rule needs."""

import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
# The library lies beside this workflow and is not installed.
sys.path.insert(0, str(ROOT))

from embpress.analysis.published import read_published
from embpress.errors import UserError
from embpress.study import benchmarks, protocols, search
from embpress.study import config as study
from embpress.study import task_files as task_data
from embpress.study.validation import check
from snakemake.exceptions import WorkflowError

PINNED = study.read_yaml(ROOT / "workflow/resources/packages.yaml")
DECLARED = study.read_yaml(ROOT / "workflow/resources/benchmarks.yaml")
try:
    for file in workflow.configfiles:
        study.read_yaml(
            Path(file)
        )  # stricter than Snakemake, which has read it already
    config["tasks"] = benchmarks.resolve(config.get("tasks"), DECLARED)
    config["tasks"] = protocols.resolve(config["tasks"])
    check(config, study.read_yaml(ROOT / "workflow/schemas/config.schema.yaml"), PINNED)
except UserError as error:
    raise WorkflowError(f"config: {error}") from None
# What the papers published, and how they are cited.
PUBLISHED = str(ROOT / "workflow/resources/published.csv")
BIBLIOGRAPHY = str(ROOT / "workflow/resources/references.bib")
PACKAGES = PINNED | config.get("packages", {})
URLS = task_data.urls(config["tasks"])
# Tasks on which anything compresses the embedding alone, and on which anything compresses more.
EMBEDDINGS = study.tasks_compressing(config, whole_model=False)
WHOLE_MODELS = study.tasks_compressing(config, whole_model=True)


def names(entries):
    """A wildcard constraint: exactly the names that the config holds, which may be none."""
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
    """A resource that grows with each retry: a job that ran out of memory or time gets more. Retries are a profile's matter."""

    def of_attempt(wildcards, attempt):
        return amount * attempt

    return of_attempt


def wheels(entry):
    """Paths of the wheels that a config entry reads from, by package name."""
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
    """What a job on a task must know of it: another label or another method listed does not run it again."""
    entry = config["tasks"][wildcards.task]
    return {k: v for k, v in entry.items() if k not in ("label", "methods", "footnote")}


def checkpoint_folder(checkpoint, seed):
    """A fine-tuned checkpoint has a folder a seed; a model as it came is the same for all seeds."""
    if checkpoint in config["tasks"]:
        return f"results/finetuned/{checkpoint}/seed{seed}"
    return f"results/models/{checkpoint}"


def counts_file(checkpoint):
    corpus, model = study.corpus_of(config, checkpoint), study.model_of(
        config, checkpoint
    )
    return f"results/frequency/{corpus}/tokens-{model}.safetensors"


def candidate_files(task):
    """Scores of the candidates for a task's settings, in their order: the search is done once, with the first seed."""
    folder = f"results/search/{task}/seed{config['seeds'][0]}"
    return [
        f"{folder}/{name}.json"
        for name in search.candidates(config["tasks"][task]["finetune"])
    ]


def task_titles(tasks):
    """Task and model of each of some tasks, as tables call them."""
    entries = {task: config["tasks"][task] for task in tasks}
    return {
        task: f"{entry['label']}, {config['models'][entry['model']]['label']}"
        for task, entry in entries.items()
    }


def candidate_entry(wildcards):
    """What a job must know of a task, with one candidate's settings: another candidate does not run it again."""
    entry = task_entry(wildcards)
    settings = search.candidates(entry["finetune"])[wildcards.candidate]
    return entry | {"finetune": settings}


def held_out_share(wildcards):
    return config["tasks"][wildcards.task]["finetune"][search.HELD_OUT]


def search_inputs(wildcards):
    entry = config["tasks"][wildcards.task]
    # Where training rows have a file of their own, the test's is not there to be read.
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
    """The model's own names of its layers by kind, where it has some."""
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
    """Folders of one variant's compressed matrices, a ratio each, for a task: as fitted, or with the students on them."""
    # The uncompressed model of a task is never a student: it is what students are compared with.
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
    """What a student is trained from: a fitted artefact or a student trained on text, checkpoints, and the task's rows."""
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
    """What training on text must know of a task."""
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
    """One entry an evaluation file: task, variant, seed, and the folders of what was evaluated."""
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
    found = evaluations()
    return {
        "outcomes": [e["outcomes"] for e in found],
        "artefacts": sorted({a for e in found for a in e["artefacts"]}),
        "checkpoints": sorted({e["checkpoint"] for e in found}),
        "counts": sorted({e["counts"] for e in found}),
    }


def speed_inputs(wildcards):
    found = score_inputs(wildcards)
    return {
        "scores": "results/scores.csv",
        "artefacts": found["artefacts"],
        "checkpoints": found["checkpoints"],
    }


def trained():
    """Folders of what this study trains: fine-tuned checkpoints, and students of both stages."""
    found = evaluations()
    checkpoints = {e["checkpoint"] for e in found}
    checkpoints -= {checkpoint_folder(model, None) for model in config["models"]}
    students = {
        folder: protocols.text_owner(e["task"], config["tasks"])
        for e in found
        for folder in e["artefacts"]
        if folder.startswith("results/students/")
    }
    on_text = {
        f"results/students_on_text/{owner}/{folder.split('/', 3)[3]}"
        for folder, owner in students.items()
        if owner
    }
    return sorted(checkpoints | on_text | set(students))


def figure_names():
    """Figures that this study has something to show in, in the order of documents."""
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
    """A figure as `snakemake --report` shows it."""
    of_task = name.startswith("retention-")
    return report(
        f"results/figures/{name}.png",
        caption=f"../report/{'retention_of_task' if of_task else name}.rst",
        category="Figures",
        labels={"figure": name.replace("_", " ")},
    )


def method_files(wildcards):
    """The code that a fit runs: a method's file changes, its fits run again. Snakemake does not see imports by itself."""
    return [
        str(ROOT / f"embpress/methods/{method}.py")
        for method in study.methods_of(config, wildcards.variant)
    ]
