"""Where the results of a study are: checkpoints, compressed matrices, students and evaluations."""

from embpress.study import folders, search
from embpress.study.artefact import FINETUNED, ON_TEXT, STUDENTS, Artefact, TrainedModel
from embpress.study.study import IDENTITY
from embpress.study.task_data import FileSource, HubDataset
from embpress.study.task_entry import SPLITS


wildcard_constraints:
    package=names(name.replace(".", r"\.") for name in PACKAGES),
    corpus=names(STUDY.corpora),
    model=names(STUDY.models),
    task=names(STUDY.tasks),
    checkpoint=names([*STUDY.models, *STUDY.tasks, *SECOND_FITS]),
    variant=names(STUDY.variants),
    seed=r"\d+",
    split=names(SPLITS),
    sha256="[0-9a-f]{64}",
    ratio=r"[\d.]+",
    candidate=names(
        name.replace(".", r"\.").replace("+", r"\+")
        for task in SEARCHED
        for name in search.candidates(STUDY.tasks[task].finetune)
    ),


def wheels(packages):
    """Paths of the wheels of some packages, by package name."""
    return {name: f"results/packages/{name}.whl" for name in dict.fromkeys(packages)}


def split_files(task, splits):
    """Paths of the files with a task's splits: downloaded, exported from the hub, or local."""

    def path(split, source):
        if isinstance(source, HubDataset):
            return f"results/hub/{task}/{split}.jsonl"
        if isinstance(source, FileSource):
            return f"results/downloads/{source.sha256}"
        return source

    sources = STUDY.tasks[task].sources(splits)
    return {split: path(split, source) for split, source in sources.items()}


def checkpoint_folder(checkpoint, seed):
    return str(folders.checkpoint_folder(STUDY, checkpoint, seed))


def counts_file(fit):
    """Counts of a checkpoint's tokens in the corpus by which it is compressed."""
    source, corpus = STUDY.split_fit(fit)
    model = STUDY.model_of(source)
    return f"results/frequency/{corpus}/tokens-{model}.safetensors"


def candidate_files(task):
    """Scores of the candidates for a task's settings, in their order: the search runs once, with the first seed."""
    folder = f"results/search/{task}/seed{STUDY.seeds[0]}"
    return [
        f"{folder}/{name}.json"
        for name in search.candidates(STUDY.tasks[task].finetune)
    ]


def fitted(fit, variant, ratio, seed):
    """Compressed matrices of a checkpoint, by the name of its fit."""
    root = Path(f"results/compressed/{fit}")
    return Artefact.below(root, variant, ratio, STUDY.fit_seed(fit, variant, seed))


def artefacts(task, variant, seed):
    """Artefacts of a variant that a task evaluates, one for each ratio."""
    return folders.evaluated_artefacts(STUDY, task, variant, seed)


def outcomes_file(task, seed, variant):
    """Outcomes of the test examples of a task."""
    return str(folders.outcomes_file(STUDY, task, variant, seed))


def student_on_text(owner, variant, ratio, seed):
    """A student that is trained on text, for the task `owner`."""
    root = Path(f"results/students_on_text/{owner}")
    return Artefact.below(root, variant, ratio, seed)


def evaluation_counts(task):
    """Counts of the tokens of a task's uncompressed checkpoint in the task's corpus."""
    model = STUDY.model_of(STUDY.checkpoint_of(task))
    return f"results/frequency/{STUDY.tasks[task].corpus}/tokens-{model}.safetensors"


def evaluations():
    """Records of all evaluations, for `embpress.pipeline.aggregation.Evaluation.from_json`."""
    return [
        {
            "task": task,
            "variant": variant.name,
            "seed": seed,
            "outcomes": outcomes_file(task, seed, variant.name),
            "artefacts": [a.to_json() for a in artefacts(task, variant.name, seed)],
            "checkpoint": checkpoint_folder(STUDY.checkpoint_of(task), seed),
            "counts": evaluation_counts(task),
        }
        for task in STUDY.tasks
        for variant in STUDY.variants_of(task)
        for seed in STUDY.seeds
    ]


EVALUATIONS = evaluations()


def trained_models():
    """Records of the models that this study trains, sorted by folder: fine-tuned checkpoints, and students of both stages."""
    models = {}

    def add(stage, task, seed, folder, variant="", ratio=None):
        model = TrainedModel(Path(folder), stage, task, seed, variant, ratio)
        models[str(folder)] = model.to_json()

    for evaluation in EVALUATIONS:
        task, variant, seed = (evaluation[key] for key in ("task", "variant", "seed"))
        tuned = STUDY.checkpoint_of(task)
        if tuned in STUDY.tasks:
            add(FINETUNED, tuned, seed, evaluation["checkpoint"])
        if not folders.has_students(STUDY, task, variant):
            continue
        owner = STUDY.text_stage_owner(task)
        for artefact in artefacts(task, variant, seed):
            ratio = artefact.ratio
            add(STUDENTS, task, seed, artefact.folder, variant, ratio)
            if owner:
                folder = student_on_text(owner, variant, ratio, seed).folder
                add(ON_TEXT, owner, seed, folder, variant, ratio)
    return [models[folder] for folder in sorted(models)]


TRAINED_MODELS = trained_models()


def task_titles(tasks):
    """Task and model of each of some tasks, as tables call them."""
    entries = {task: STUDY.tasks[task] for task in tasks}
    return {
        task: f"{entry.label}, {STUDY.models[entry.model].label}"
        for task, entry in entries.items()
    }


def figure_names():
    """Figures for which this study has data, in the order of documents."""
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
        "ablations": STUDY.compares_variants,
        "protocols": STUDY.compares_protocols,
        "learning_curves": TRAINED_MODELS,
        **{
            f"retention-{task}": task in EMBEDDINGS or task in WHOLE_MODELS
            for task in STUDY.tasks
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
