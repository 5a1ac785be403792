"""Checks of a study against itself, before any job starts. Imports no torch.

The entries' own types are checked when the study is read; here are the names that stand for other
entries, and what several entries must have in common.
"""

import importlib.util
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..errors import UserError
from ..methods import TRIMMING
from ..safetensors_header import read_header
from . import protocols
from .claim_entry import ComparisonEntry
from .fields import nearest
from .layer_kinds import ALL
from .method_entry import SENSITIVITIES, MatrixSpec, Variant
from .metric_names import ERRORS
from .model_entry import FolderCorpus, ModelEntry, PackagePin, TaskCorpus
from .study import IDENTITY, Study
from .task_entry import LabelledTaskEntry, TaskEntry
from .task_training import TextStage


def check_study(study: Study, packages: Mapping[str, PackagePin]) -> None:
    """Check what the types of the entries cannot say.

    Args:
        study: the whole study.
        packages: the pinned packages of the suite; the study's own are added to them.

    Raises:
        UserError: with the place, the culprit and the remedy of the first fault.
    """
    _check_references(study, packages)
    _check_tasks(study)
    if IDENTITY not in study.methods:
        raise UserError(
            "methods: identity is missing; every score is compared with the uncompressed model's"
        )
    for variant in study.variants.values():
        _check_variant(study, variant)
    _check_sensitivities(study)
    _check_averages(study)
    for name, claim in study.claims.items():
        for i, comparison in enumerate(claim.comparisons):
            _check_comparison(study, f"claims.{name}.comparisons.{i}", comparison)
    for name, model in study.models.items():
        _check_model(f"models.{name}", model)
    for name in study.corpora:
        _check_corpus(study, name)


def _check_known(name: str, entries: Iterable[str], what: str, section: str) -> None:
    """Refuse the name of an entry that is not there."""
    entries = list(entries)
    if name not in entries:
        raise UserError(f"{what} {name!r} is not under `{section}:`{nearest(name, entries)}")


def _check_references(study: Study, packages: Mapping[str, PackagePin]) -> None:
    """Names of packages, models, corpora and methods exist."""
    known = [*packages, *study.packages]
    sources: dict[str, Iterable[str]] = {
        f"models.{name}": model.packages for name, model in study.models.items()
    }
    sources |= {f"corpora.{name}": c.package_names for name, c in study.corpora.items()}
    sources |= {f"tasks.{name}": task.packages for name, task in study.tasks.items()}
    for place, names in sources.items():
        for package in names:
            _check_known(package, known, f"{place}: package", "packages")
    for name, model in study.models.items():
        for corpus in model.vocabulary.seen_in if model.vocabulary else ():
            _check_known(corpus, study.corpora, f"models.{name}.vocabulary: corpus", "corpora")
    for name, task in study.tasks.items():
        if name in study.models:
            raise UserError(
                f"tasks.{name}: a model has this name too; rename one, as both would use one folder"
            )
        _check_known(task.model, study.models, f"tasks.{name}: model", "models")
        for corpus in _corpora_of(task):
            _check_known(corpus, study.corpora, f"tasks.{name}: corpus", "corpora")
        for method in task.methods or ():
            _check_known(method, study.methods, f"tasks.{name}: method", "methods")


def _corpora_of(task: TaskEntry) -> list[str]:
    """Corpora that a task names."""
    corpora = [task.corpus, *([task.held_out_corpus] if task.held_out_corpus else [])]
    distil = task.distil if isinstance(task, LabelledTaskEntry) else None
    if distil is not None and isinstance(distil.stage1, TextStage):
        corpora.append(distil.stage1.corpus)
    return corpora


def _check_tasks(study: Study) -> None:
    """Files of tasks exist, and tasks that use the checkpoint of another task agree with it."""
    for name, task in study.tasks.items():
        task.check_files(f"tasks.{name}")
        protocols.check_student(name, study.tasks)
    for name, entry in study.labelled_tasks.items():
        if entry.checkpoint is not None:
            _check_checkpoint(study, f"tasks.{name}.checkpoint", entry, entry.checkpoint)


def _check_checkpoint(study: Study, place: str, task: LabelledTaskEntry, checkpoint: str) -> None:
    """The task whose model is evaluated is fine-tuned, on the same labels but other rows."""
    trained = {t: e for t, e in study.labelled_tasks.items() if e.finetune and not e.is_student}
    _check_known(checkpoint, trained, f"{place}: fine-tuned task", "tasks")
    other = trained[checkpoint]
    for key in ("model", "kind", "label_names"):
        if getattr(task, key) != getattr(other, key):
            word = "labels" if key == "label_names" else key
            raise UserError(
                f"{place}: {checkpoint} has another `{word}`, but a head predicts one set of "
                "labels: name a task that has the same"
            )
    # A student's only file is split exactly as its teacher's.
    same_file = task.is_student and task.data == other.data
    if not same_file and task.data.hub is None and task.data.test == other.data.train:
        raise UserError(
            f"{place}: {checkpoint} was trained on `data.test` of this task: name other rows"
        )


def _check_variant(study: Study, variant: Variant) -> None:
    """Keys of a method entry fit each other, and its options the method."""
    entry = study.methods[variant.name]
    for key in ("budget", "share"):
        if key in entry.model_fields_set and not variant.compresses_layers:
            raise UserError(
                f"methods.{variant.name}: `{key}` needs `modules`, which name the matrices to "
                "compress: add them or remove it"
            )
    if variant.codes_whole_model:
        _check_whole_model(study, variant)
    if variant.trims_vocabulary:
        _check_trimming(study, variant)
    _check_options_at(variant)
    for ratio in variant.ratios:
        for choice in variant.fit_settings(ratio).matrices:
            _check_options(variant.name, choice)


def _check_whole_model(study: Study, variant: Variant) -> None:
    """A code of all matrices has no other keys, and tasks have it count every matrix."""
    place = f"methods.{variant.name}"
    for key in ("budget", "share"):
        if key in study.methods[variant.name].model_fields_set:
            raise UserError(
                f"{place}: `{key}` does not apply with `modules: {ALL}`, whose ratios are of the "
                "whole model: remove it"
            )
    for name, task in study.tasks.items():
        if task.keeps_dense_head and variant in study.variants_of(name):
            raise UserError(
                f"tasks.{name}: {variant.name} codes all matrices, but this task keeps the output "
                f"head dense: list the task's `methods` without {variant.name}"
            )


def _check_trimming(study: Study, variant: Variant) -> None:
    """A trimmed vocabulary is of the embedding, and of tasks in which other tokens can be read."""
    if variant.compresses_layers:
        raise UserError(
            f"methods.{variant.name}: {TRIMMING} trims the embedding and the tokenizer, and no "
            "other matrix: remove `modules`"
        )
    for name, task in study.tasks.items():
        if variant not in study.variants_of(name):
            continue
        remedy = f"list the task's `methods` without {variant.name}"
        if task.scores_tokens:
            raise UserError(
                f"tasks.{name}: {variant.name} splits texts into other tokens, and perplexity per "
                f"token is not comparable then: {remedy}"
            )
        if task.is_student:
            raise UserError(
                f"tasks.{name}: {variant.name} has a tokenizer of its own, with which students are "
                f"not trained: {remedy}"
            )


def _check_options_at(variant: Variant) -> None:
    """Options at some ratios are of these ratios, and of a variant of the embedding."""
    place = f"methods.{variant.name}.options_at"
    if variant.options_at and variant.compresses_layers:
        raise UserError(f"{place} does not apply to an entry with `modules`: remove one of them")
    ratios = [ratio for at in variant.options_at for ratio in at.ratios]
    for ratio in ratios:
        if ratio not in variant.ratios:
            known = ", ".join(f"{r:g}" for r in variant.ratios)
            raise UserError(
                f"{place}: {ratio:g} is not one of the entry's ratios {known}: remove it"
            )
        if ratios.count(ratio) > 1:
            raise UserError(f"{place}: {ratio:g} stands there twice: remove one of them")
    for at in variant.options_at:
        if at.options.get("weighting") in SENSITIVITIES:
            raise UserError(
                f"{place}: a sensitivity is measured for all ratios: set weighting in `options`"
            )


def _check_options(name: str, choice: MatrixSpec) -> None:
    """Options of a method, if torch is installed; elsewhere the job of the fit checks them."""
    if not choice.options or importlib.util.find_spec("torch") is None:
        return
    from ..methods import method_class
    from ..methods._layer_code import CodeOptions

    try:
        if choice.kind == ALL:
            CodeOptions.parse(choice.options)
        else:
            method_class(choice.method)(**choice.options)
    except UserError as error:
        raise UserError(f"methods.{name}: {error}") from error


def _check_sensitivities(study: Study) -> None:
    """Rows are weighted by a sensitivity only where the model predicts something."""
    for task in study.tasks:
        for variant in study.variants_of(task):
            weighting = next((c.sensitivity for c in variant.matrices if c.sensitivity), None)
            if weighting and not study.predicts(study.source_of(task)):
                raise UserError(
                    f"tasks.{task}: {variant.name} weights rows by {weighting}, but the task's "
                    "model has no head that predicts tokens or labels: list the task's `methods` "
                    f"without {variant.name}"
                )


def _check_averages(study: Study) -> None:
    """Tasks of an average exist, and one model does them all by one protocol."""
    for name, average in study.averages.items():
        if name in study.tasks:
            raise UserError(f"averages.{name}: a task has this name too; rename one")
        first = average.all_tasks[0]
        for task in average.all_tasks:
            _check_known(task, study.tasks, f"averages.{name}: task", "tasks")
            if "perplexity" in study.tasks[task].reported_metrics:
                raise UserError(
                    f"averages.{name}: {task} is measured by perplexity, which is not averaged "
                    "with other scores: remove it"
                )
            for key in ("model", "protocol"):
                if getattr(study.tasks[task], key) != getattr(study.tasks[first], key):
                    raise UserError(
                        f"averages.{name}: {first} and {task} have different `{key}`s: average "
                        "them apart"
                    )


def _check_comparison(study: Study, place: str, comparison: ComparisonEntry) -> None:
    """Variants and tasks exist and meet, and the metric is measured."""
    variants = (comparison.better, *comparison.worse)
    for variant in variants:
        _check_known(variant, study.methods, f"{place}: method", "methods")
    for task in comparison.tasks:
        _check_known(task, study.tasks, f"{place}: task", "tasks")
        compared = {variant.name for variant in study.variants_of(task)}
        for variant in variants:
            if variant not in compared:
                raise UserError(
                    f"{place}: {variant} does not run on {task}: add it to tasks.{task}.methods"
                )
        measures = [*study.tasks[task].reported_metrics, *ERRORS]
        if comparison.by not in measures:
            hint = nearest(comparison.by, measures)
            raise UserError(f"{place}: {task} has no metric {comparison.by!r}{hint}")
    for worse in comparison.worse:
        _check_ratios(study, place, comparison, worse)


def _check_ratios(study: Study, place: str, comparison: ComparisonEntry, worse: str) -> None:
    """Two variants run at the ratios at which they are compared."""
    better = comparison.better
    if worse == better:
        raise UserError(
            f"{place}: {worse} is compared with itself: name another entry under `methods:`"
        )
    common = study.common_ratios(better, worse)
    if not common:
        raise UserError(
            f"{place}: {better} and {worse} run at no common ratio: give both the same `ratios`"
        )
    for ratio in comparison.ratios or ():
        if ratio not in common:
            known = ", ".join(f"{r:g}" for r in common if r is not None)
            raise UserError(
                f"{place}: {better} and {worse} do not both run at ratio {ratio:g}; they do at "
                f"{known or 'none, as both are controls'}"
            )


def _check_model(place: str, model: ModelEntry) -> None:
    """A model comes from one source, which exists."""
    if (model.hub is None) == (model.path is None):
        raise UserError(f"{place}: name either `path` or `hub`")
    if model.path is None:
        if model.format != "transformers" or model.package is not None:
            raise UserError(
                f"{place}: a model with `hub` needs `format: transformers` and no `package`"
            )
    elif model.package is None and model.format == "transformers":
        check_model_folder(Path(model.path), place)
    elif model.package is None and not Path(model.path).is_file():
        raise UserError(f"{place}: there is no file {model.path}")


def _check_corpus(study: Study, name: str) -> None:
    """The task whose texts are counted has training rows; the folder of a corpus exists."""
    place, corpus = f"corpora.{name}", study.corpora[name]
    if isinstance(corpus, FolderCorpus) and not Path(corpus.path).is_dir():
        raise UserError(f"{place}.path: there is no folder {corpus.path}")
    if isinstance(corpus, TaskCorpus):
        trained = [task for task, entry in study.tasks.items() if entry.is_trained]
        _check_known(corpus.task, trained, f"{place}: fine-tuned task", "tasks")
        for task, entry in study.tasks.items():
            if entry.held_out_corpus == name:
                raise UserError(
                    f"tasks.{task}.data.corpus: {place} has no held-out texts, as its texts are a "
                    "task's: name another corpus"
                )


def check_model_folder(folder: Path, place: str) -> None:
    """Check that a local checkpoint has a config and a matrix of vocabulary size x hidden size.

    Raises:
        UserError: if it has not.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        vocabulary = config.get("vocab_size")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{place}: {folder} holds no readable config.json ({error})") from error
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(
            f"{place}: {folder} holds no .safetensors file; pickled weights are not read"
        )
    shapes = [shape for file in files for shape in _tensor_shapes(file)]
    if not any(len(shape) == 2 and shape[0] == vocabulary for shape in shapes):
        raise UserError(
            f"{place}: no matrix in {folder} has vocab_size ({vocabulary}) rows: the model has no "
            "embedding"
        )


def _tensor_shapes(path: Path) -> list[tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file."""
    try:
        return [tensor.shape for tensor in read_header(path).tensors.values()]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not a complete safetensors file ({error}): copy or download it again"
        ) from error
