"""A study: its variants, tasks, models and corpora, typed and resolved. Imports no torch.

A config is read once (`Study.from_config`). Everything else asks the Study: which variants a task
compares, which checkpoint is compressed for it, which corpus is counted.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError

from ..errors import UserError
from . import protocols
from .claim_entry import AverageEntry, ClaimEntry, Comparison
from .fields import Frozen, Name, Ratios, Seeds
from .layer_kinds import EMBEDDING
from .method_entry import MethodEntry, Variant, resolve_variant
from .model_entry import CorpusEntry, ModelEntry, PackagePin
from .task_entry import LabelledTaskEntry, TaskEntry
from .validation_errors import user_error

IDENTITY = "identity"
"""Variant of the uncompressed model; every score is compared with its score."""

CORPUS_MARK = "+"
"""Between the names of a checkpoint and a corpus, where it is compressed by another one too."""

RawConfig = Mapping[str, Any]
"""A config as YAML or JSON holds it, not yet validated."""
ParseEntry = Callable[[Mapping[str, Any], str], TaskEntry]
"""Gives the typed entry of a task from its keys and dotted place; see `embpress.tasks`."""


class SensitivitySettings(Frozen):
    """How a model's sensitivity to its rows is measured."""

    tokens: int = Field(default=32_768, ge=256, description="Tokens of counted text.")


class Study(Frozen):
    """One config. Unknown keys are refused, so that a misspelt one is never without effect."""

    name: Name = Field(alias="study", description="Stands in every row of scores.csv.")
    seeds: Seeds = Field(
        description="Each seed is one whole repetition of fine-tuning and fitting."
    )
    ratios: Ratios
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        exclude=True,  # of what jobs depend on: another device does not run them again
        description="Where models and trained methods run; `auto` is a GPU where torch sees one.",
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="In which type models are evaluated."
    )
    packages: dict[Name, PackagePin] = Field(
        default={}, description="Pinned packages beside those of workflow/resources/packages.yaml."
    )
    sensitivity: SensitivitySettings = Field(
        default=SensitivitySettings(),
        description="How a model's sensitivity to its rows is measured, for methods whose option "
        "`weighting` asks for it.",
    )
    methods: dict[Name, MethodEntry] = Field(
        min_length=1, description="Rows of the tables; the key is the row's name."
    )
    models: dict[Name, ModelEntry] = Field(min_length=1)
    corpora: dict[Name, CorpusEntry] = Field(min_length=1)
    tasks: dict[Name, SerializeAsAny[TaskEntry]] = Field(
        min_length=1,
        description="Each `benchmark: NAME` is replaced by its entry in "
        "workflow/resources/benchmarks.yaml; what stands beside it replaces parts of that entry.",
    )
    claims: dict[Name, ClaimEntry] = Field(default={}, description="See results/tables/claims.txt.")
    averages: dict[Name, AverageEntry] = Field(
        default={}, description="Means over tasks; see results/averages.csv."
    )

    @classmethod
    def from_config(cls, config: RawConfig, parse_entry: ParseEntry) -> Self:
        """A study of a config whose benchmarks and students are resolved, or of `to_json()`.

        Raises:
            UserError: with the place, the culprit and the remedy of the first wrong value.
        """
        entries = {}
        for name, entry in config["tasks"].items():
            if not isinstance(entry, dict):
                raise UserError(f"tasks.{name}: {entry!r} is not an entry: write its keys below it")
            entries[name] = parse_entry(entry, f"tasks.{name}")
        value = {**config, "tasks": entries}
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise user_error(error, "", value) from None

    def to_json(self) -> dict[str, Any]:
        """The study as plain JSON; `from_config` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    @cached_property
    def variants(self) -> dict[str, Variant]:
        """Resolved entries under `methods:`, in their order.

        Raises:
            UserError: if an entry names an unknown method, preset or kind of matrix.
        """
        entries = self.methods.items()
        return {name: resolve_variant(name, entry, self.ratios) for name, entry in entries}

    def variants_of(self, task: str) -> list[Variant]:
        """Variants that a task compares; the uncompressed model is always one of them."""
        chosen = self.tasks[task].methods
        variants = self.variants.values()
        return [v for v in variants if chosen is None or v.name in chosen or v.name == IDENTITY]

    @property
    def compares_variants(self) -> bool:
        """Whether a task runs two variants of one method for the embedding at one ratio."""
        for task in self.tasks:
            variants = [v for v in self.variants_of(task) if not v.is_control]
            variants = [v for v in variants if not v.compresses_layers]
            runs = [(variant.method, ratio) for variant in variants for ratio in variant.ratios]
            if len(set(runs)) < len(runs):
                return True
        return False

    @property
    def compares_protocols(self) -> bool:
        """Whether a variant, at its best, runs by several protocols of one task."""

        def compressed(task: str) -> set[str]:
            variants = [v for v in self.variants_of(task) if not v.is_control]
            return {v.name for v in variants if v.setting == "best"}

        families: dict[str, list[set[str]]] = {}
        for name, task in self.tasks.items():
            family = self.checkpoint_of(name) if task.is_student else name
            families.setdefault(family, []).append(compressed(name))
        return any(len(set().union(*tasks)) < sum(map(len, tasks)) for tasks in families.values())

    def tasks_compressing(self, layers: bool) -> list[str]:
        """Tasks with a variant, other than a control, that compresses layers, or the embedding."""
        return [
            task
            for task in self.tasks
            if any(
                variant.compresses_layers == layers and not variant.is_control
                for variant in self.variants_of(task)
            )
        ]

    def common_ratios(self, *names: str) -> list[float | None]:
        """Ratios at which all variants run; [None] if all are controls, which have no ratio."""
        ratios = [
            self.variants[name].ratios for name in names if not self.variants[name].is_control
        ]
        if not ratios:
            return [None]
        return [ratio for ratio in sorted(ratios[0]) if all(ratio in other for other in ratios)]

    def comparisons(self) -> list[Comparison]:
        """Every comparison that the claims ask for, in their order."""
        return [
            Comparison(name, entry.better, worse, task, entry.by, ratio)
            for name, claim in self.claims.items()
            for entry in claim.comparisons
            for worse in entry.worse
            for task in entry.tasks
            for ratio in entry.ratios or self.common_ratios(entry.better, worse)
        ]

    def checkpoint_of(self, task: str) -> str:
        """Name of the uncompressed checkpoint of a task: a model, or a task that fine-tunes one."""
        entry = self.tasks[task]
        own = task if entry.protocol == "finetune_then_compress" else entry.model
        named = entry.checkpoint if isinstance(entry, LabelledTaskEntry) else None
        return named or own

    def source_of(self, task: str) -> str:
        """Name of the checkpoint whose matrices are compressed for a task."""
        entry = self.tasks[task]
        if not entry.is_student:
            return self.checkpoint_of(task)
        # The first stage of distillation imitates the pre-trained model, which is then compressed.
        if entry.protocol == "compress_then_finetune" or self.text_stage_owner(task) is not None:
            return entry.model
        return self.checkpoint_of(task)

    def text_stage_owner(self, task: str) -> str | None:
        """The task whose students, trained on text, a student starts from: itself or another."""
        return protocols.text_stage_owner(task, self.tasks[task])

    def corpus_of(self, checkpoint: str) -> str:
        """The corpus by whose counts a checkpoint is compressed for the first task that uses it."""
        return next(
            entry.corpus
            for task, entry in self.tasks.items()
            if checkpoint in (self.checkpoint_of(task), self.source_of(task))
        )

    def fit_of(self, task: str) -> str:
        """Name of the checkpoint whose matrices are compressed for a task by the task's corpus."""
        return self._fit(self.source_of(task), task)

    def evaluated_fit_of(self, task: str) -> str:
        """As `fit_of`, of the checkpoint that a task evaluates if nothing is trained afterwards."""
        return self._fit(self.checkpoint_of(task), task)

    def _fit(self, checkpoint: str, task: str) -> str:
        """The checkpoint's own name with its first corpus, else `CHECKPOINT+CORPUS`."""
        corpus = self.tasks[task].corpus
        is_first = corpus == self.corpus_of(checkpoint)
        return checkpoint if is_first else f"{checkpoint}{CORPUS_MARK}{corpus}"

    def second_fits(self) -> list[str]:
        """Names of checkpoints compressed by another corpus than their first one, sorted."""
        fits = {self.fit_of(task) for task in self.tasks}
        fits |= {self.evaluated_fit_of(task) for task in self.tasks}
        return sorted(fit for fit in fits if CORPUS_MARK in fit)

    def split_fit(self, name: str) -> tuple[str, str]:
        """Checkpoint and corpus of a name that `fit_of` or `evaluated_fit_of` gives."""
        checkpoint, _, corpus = name.partition(CORPUS_MARK)
        return checkpoint, corpus or self.corpus_of(checkpoint)

    def fit_seed(self, fit: str, variant: str, seed: int) -> int:
        """The seed whose fit stands for a seed.

        The first one, where neither the checkpoint nor the fit depends on the seed: such a fit is
        computed, and evaluated, once for all seeds.

        Args:
            fit: name of a checkpoint and corpus, from `fit_of` or `evaluated_fit_of`.
            variant: name of the variant.
            seed: one of the study's.
        """
        checkpoint, _ = self.split_fit(fit)
        depends = checkpoint in self.tasks or self.variants[variant].draws
        return seed if depends else self.seeds[0]

    def model_of(self, checkpoint: str) -> str:
        """Name of the model behind a checkpoint."""
        return self.tasks[checkpoint].model if checkpoint in self.tasks else checkpoint

    def calibration_task(self, checkpoint: str) -> str:
        """The task with whose head a checkpoint is calibrated.

        That for which it is fine-tuned, else one that evaluates it, else one of its students.
        """
        if checkpoint in self.tasks:
            return checkpoint
        tasks = [task for task in self.tasks if self.source_of(task) == checkpoint]
        return min(tasks, key=lambda task: self.tasks[task].is_student)

    def predicts(self, checkpoint: str) -> bool:
        """Whether a checkpoint has a head that predicts tokens or labels."""
        if checkpoint in self.tasks:
            return self.tasks[checkpoint].measures_sensitivity
        return self.models[checkpoint].predicts_tokens

    def sensitive_kinds(self, checkpoint: str) -> list[str]:
        """Kinds of linear layers whose rows are weighted by a sensitivity, sorted."""
        tasks = [task for task in self.tasks if self.source_of(task) == checkpoint]
        choices = [m for task in tasks for v in self.variants_of(task) for m in v.matrices]
        return sorted({choice.kind for choice in choices if choice.sensitivity} - {EMBEDDING})

    @property
    def labelled_tasks(self) -> dict[str, LabelledTaskEntry]:
        """Tasks whose examples are rows with a label."""
        tasks = self.tasks.items()
        return {name: task for name, task in tasks if isinstance(task, LabelledTaskEntry)}

    def searched_tasks(self) -> list[str]:
        """Tasks whose fine-tuning settings are searched, in their order."""
        return [
            name
            for name, task in self.labelled_tasks.items()
            if task.is_trained
            and not task.is_student
            and task.finetune
            and task.finetune.is_searched
        ]

    def used_packages(self) -> list[str]:
        """Packages that models, corpora and tasks are read from, sorted."""
        names = {package for model in self.models.values() for package in model.packages}
        names |= {package for corpus in self.corpora.values() for package in corpus.package_names}
        return sorted(
            names | {package for task in self.tasks.values() for package in task.packages}
        )

    def local_files(self) -> list[Path]:
        """Files on this disk that tasks read, sorted."""
        return sorted(
            {path for task in self.tasks.values() for path in task.local_files().values()}
        )

    def corpora_of(self, *formats: str) -> list[str]:
        """Names of the corpora that have one of some formats."""
        return [name for name, corpus in self.corpora.items() if corpus.format in formats]
