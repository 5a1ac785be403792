"""Folders of a study's results: checkpoints, and what its tasks evaluate. Imports no torch."""

from pathlib import Path

from .artefact import STUDENTS, Artefact
from .study import IDENTITY, Study

RESULTS = Path("results")


def checkpoint_folder(study: Study, checkpoint: str, seed: int | str, root: Path = RESULTS) -> Path:
    """A fine-tuned checkpoint has a folder for each seed, a pre-trained model one for all seeds."""
    if checkpoint in study.tasks:
        return root / f"finetuned/{checkpoint}/seed{seed}"
    return root / f"models/{checkpoint}"


def has_students(study: Study, task: str, variant: str) -> bool:
    """Whether a variant of a task is trained after its compression.

    Students are compared with the uncompressed model, which is not.
    """
    return study.tasks[task].is_student and study.variants[variant].method != IDENTITY


def evaluated_seed(study: Study, task: str, variant: str, seed: int) -> int:
    """The seed whose outcomes stand for a seed, as in `Study.fit_seed`; students have their own."""
    if has_students(study, task, variant):
        return seed
    return study.fit_seed(study.evaluated_fit_of(task), variant, seed)


def outcomes_file(study: Study, task: str, variant: str, seed: int, root: Path = RESULTS) -> Path:
    """Outcomes of the test examples of a task."""
    seed = evaluated_seed(study, task, variant, seed)
    return root / f"evaluation/{task}/seed{seed}/{variant}.safetensors"


def evaluated_artefacts(
    study: Study, task: str, variant: str, seed: int, root: Path = RESULTS
) -> list[Artefact]:
    """What a task evaluates of a variant, one for each ratio: fitted matrices, or students."""
    seed = evaluated_seed(study, task, variant, seed)
    if has_students(study, task, variant):
        folder = root / STUDENTS / task
    else:
        folder = root / f"compressed/{study.evaluated_fit_of(task)}"
    ratios = study.variants[variant].ratios
    return [Artefact.below(folder, variant, ratio, seed) for ratio in ratios]
