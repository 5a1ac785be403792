"""Aggregate the outcomes of a study into tables of scores, errors by decile and bounds."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas

from ..fidelity.reconstruction import MATRIX_METRICS
from ..fidelity.record import Fitted, Infeasible, read_result
from ..methods import method_class
from ..models.checkpoints import read_metadata
from ..study.artefact import Artefact
from ..study.method_entry import FitSettings, Setting, Variant
from ..study.study import IDENTITY, Study
from ..study.task_entry import TaskEntry
from ..tasks import Outcomes, task_class
from ..tasks._bootstrap import compare
from .bounds import bound_curve
from .evaluation import read_outcomes
from .intervals import add_intervals_over_seeds

AS_PUBLISHED: dict[Setting, str] = {"best": "", "published": ", as published"}
"""What is added to a method's own label, by setting."""


@dataclass(frozen=True)
class Evaluation:
    """Files of the evaluation of one variant on one task with one seed."""

    task: str
    variant: str
    seed: int
    outcomes: Path
    """Outcomes of the test examples, by artefact."""
    artefacts: list[Artefact]
    """What was evaluated, a ratio each."""
    checkpoint: Path
    """The uncompressed checkpoint."""
    counts: Path
    """Token counts of the checkpoint's vocabulary."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """From plain JSON values, as the workflow's rules pass them."""
        paths = {name: Path(value[name]) for name in ("outcomes", "checkpoint", "counts")}
        artefacts = [Artefact.from_json(artefact) for artefact in value["artefacts"]]
        return cls(value["task"], value["variant"], value["seed"], artefacts=artefacts, **paths)


def aggregate(
    study: Study, evaluations: list[Evaluation]
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Compute the scores and the errors by decile of all evaluations of a study.

    Returns:
        The table of scores, a row a score; and the table of errors, a row an artefact and decile.
    """
    baselines = {
        (e.task, e.seed): next(iter(read_outcomes(e.outcomes).values()))
        for e in evaluations
        if e.variant == IDENTITY
    }
    scores: list[dict[str, Any]] = []
    samples: list[np.ndarray | None] = []
    deciles = {}
    for evaluation in evaluations:
        outcomes = read_outcomes(evaluation.outcomes)
        for artefact in evaluation.artefacts:
            result = read_result(artefact.folder)
            shared = _shared_columns(study, evaluation, artefact)
            if isinstance(result, Infeasible):
                metric = study.tasks[evaluation.task].reported_metrics[0]
                scores.append(shared | {"metric": metric, "note": result.reason})
                samples.append(None)
                continue
            row = shared | _result_columns(study.tasks[evaluation.task], evaluation, result)
            baseline = baselines[evaluation.task, evaluation.seed]
            own = _scores(study, evaluation.task, outcomes[artefact.name], baseline)
            scores += [row | columns for columns, _ in own]
            samples += [sampled for _, sampled in own]
            if result.reconstruction:
                deciles[artefact.folder] = _deciles(study, evaluation, row, result.reconstruction)
    add_intervals_over_seeds(scores, samples)
    return pandas.DataFrame(scores), pandas.DataFrame(
        [row for rows in deciles.values() for row in rows]
    )


def _shared_columns(study: Study, evaluation: Evaluation, artefact: Artefact) -> dict[str, Any]:
    """Columns that all scores of one artefact share, whether it could be compressed or not."""
    task = study.tasks[evaluation.task]
    variant = study.variants[evaluation.variant]
    return {
        "study": study.name,
        "model": task.model,
        "task": evaluation.task,
        "protocol": task.protocol,
        "method": variant.name,
        "setting": variant.setting,
        "target_ratio": None if variant.is_control else artefact.ratio,
        "factor_dtype": _factor_dtype(variant.fit_settings(artefact.ratio)),
        "seed": evaluation.seed,
        "note": "",
    }


def _result_columns(
    task: TaskEntry, evaluation: Evaluation, result: Fitted
) -> dict[str, float | None]:
    """Columns of an artefact's sizes and errors."""
    metadata = read_metadata(evaluation.checkpoint)
    embedding_floats = result.dense_embedding_floats
    if embedding_floats is None:
        embedding_floats = math.prod(metadata["shape"])
    dense_floats = embedding_floats if result.dense_floats is None else result.dense_floats
    # The rest of the model stays in fp32, unless the record says otherwise. A tied head is the same
    # matrix and counted once, unless it stays dense.
    has_dense_copy = task.keeps_dense_head and metadata["tied_head"]
    replaced = dense_floats - embedding_floats * has_dense_copy
    other_bits = result.other_bits
    if other_bits is None:
        other_bits = 32 * (metadata["parameters"] - replaced)
    columns = {
        "achieved_ratio": result.ratio,
        "parameter_ratio": dense_floats / result.stored_floats if result.stored_floats else None,
        "model_ratio": 32 * metadata["parameters"] / (other_bits + result.stored_bits),
    }
    if result.reconstruction:
        names = [name for metric in MATRIX_METRICS for name in (metric, f"weighted_{metric}")]
        columns |= {name: result.reconstruction[name] for name in names}
    return columns | (result.bound or {})


def _factor_dtype(settings: FitSettings) -> str | None:
    """Data type of the factors of a fit.

    None where its method stores no factors, or its matrices' factors differ in type.
    """
    dtypes = {
        str(spec.options.get("factor_dtype", "float32"))
        if method_class(spec.method).has_factors
        else None
        for spec in settings.matrices
    }
    return dtypes.pop() if len(dtypes) == 1 else None


def _scores(
    study: Study, task: str, outcomes: Outcomes, uncompressed: Outcomes
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Columns of each reported metric of a task for one artefact, and the samples of its
    retention.
    """
    entry = study.tasks[task]
    return [
        (
            {
                "metric": score.metric,
                "value": score.value,
                "n": score.n,
                "uncompressed_value": score.uncompressed,
                "retention": score.retention,
                "retention_low": score.low,
                "retention_high": score.high,
            },
            score.samples,
        )
        for score in compare(task_class(entry.kind), outcomes, uncompressed, task)
        if score.metric in entry.reported_metrics
    ]


def _deciles(
    study: Study,
    evaluation: Evaluation,
    shared: dict[str, Any],
    reconstruction: dict[str, Any],
) -> list[dict[str, Any]]:
    """Reconstruction metrics of one artefact by decile; 1 holds the most frequent tokens."""
    keys = {
        "model": checkpoint_label(study, evaluation.task),
        "method": evaluation.variant,
        "target_ratio": shared["target_ratio"],
        "seed": evaluation.seed,
    }
    values = zip(*(reconstruction[f"decile_{metric}"] for metric in MATRIX_METRICS))
    return [
        keys | {"decile": i} | dict(zip(MATRIX_METRICS, row))
        for i, row in enumerate(values, start=1)
    ]


def bounds(study: Study, evaluations: list[Evaluation]) -> pandas.DataFrame:
    """Compute the rate-distortion bound of every checkpoint of a study over a grid of ratios."""
    files_by_checkpoint = {
        (checkpoint_label(study, e.task), e.seed): (e.checkpoint, e.counts) for e in evaluations
    }
    rows = [
        {"model": model, "seed": seed} | row
        for (model, seed), files in files_by_checkpoint.items()
        for row in bound_curve(*files)
    ]
    return pandas.DataFrame(rows)


def checkpoint_label(study: Study, task: str) -> str:
    """Label of the checkpoint that a task runs on.

    Students are labelled by their task, as their matrices differ from the checkpoint's; so does a
    second corpus by whose counts the checkpoint is compressed.
    """
    entry = study.tasks[task]
    checkpoint = task if entry.is_student else study.checkpoint_of(task)
    label = checkpoint_title(study, checkpoint)
    if entry.is_student or entry.corpus == study.corpus_of(checkpoint):
        return label
    return f"{label}, counts of {entry.corpus}"


def checkpoint_title(study: Study, checkpoint: str) -> str:
    """Label of a checkpoint, or of a task's students, whatever it is compressed by."""
    model = study.models[study.model_of(checkpoint)].label
    return f"{model} ({study.tasks[checkpoint].label})" if checkpoint in study.tasks else model


def uniform_twin(study: Study, variant: Variant) -> str:
    """Name of the variant that has equal row weights where this one has counts, else the same.

    "" if there is none, or the variant does not weight the rows of the embedding by counts.
    """
    if variant.compresses_layers or variant.is_control:
        return ""

    def options(other: Variant, ratio: float) -> Any:
        (spec,) = other.fit_settings(ratio).matrices
        return method_class(spec.method)(**spec.options).options

    for other in study.variants.values():
        if other.method != variant.method or other.compresses_layers:
            continue
        ratios = study.common_ratios(variant.name, other.name)
        pairs = [(options(variant, ratio), options(other, ratio)) for ratio in ratios if ratio]
        if pairs and all(
            own.weighting == "counts"
            and replace(own, weighting="uniform", count_power=None) == twin
            for own, twin in pairs
        ):
            return other.name
    return ""


def labels(study: Study) -> dict[str, Any]:
    """Labels and properties of methods and tasks, for `Labels.from_json`."""
    methods = {}
    tasks = {}
    for name, variant in study.variants.items():
        method = method_class(variant.method)
        methods[name] = {
            "label": variant.label or method.label + AS_PUBLISHED[variant.setting],
            "kind": method.kind,
            "setting": variant.setting,
            "uniform": uniform_twin(study, variant),
            "reconstruction": method.reconstruction,
            "citation": method.citation,
            "compresses_layers": variant.compresses_layers,
            "base": variant.method,
        }
    for name, task in study.tasks.items():
        known = {metric.name: metric for metric in task.known_metrics}
        metric, *others = (known[metric] for metric in task.reported_metrics)
        tasks[name] = {
            "label": task.label,
            "model": study.models[task.model].label,
            "checkpoint": checkpoint_label(study, name),
            "metric": metric.name,
            "metric_label": metric.label,
            "higher_is_better": metric.higher_is_better,
            "percent": metric.percent,
            "metrics": {other.name: other.label for other in others},
            "family": study.checkpoint_of(name) if task.is_student else "",
            "unscaled": [other.name for other in others if not other.percent],
            "lower_is_better": [other.name for other in others if not other.higher_is_better],
            "footnote": task.footnote or "",
        }
    return {"methods": methods, "tasks": tasks, "ratios": list(study.ratios)}
