"""All outcomes of a study to one tidy table of scores, one of errors by decile.

And the labels that tables need.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from ..fidelity.reconstruction import METRICS
from ..fidelity.record import RESULT
from ..methods import method_class
from ..models.checkpoints import card
from ..study import config as study_config
from ..study.matrix_choices import is_whole_model
from ..study.metric_names import metrics_of
from ..study.protocols import is_student
from ..tasks import Outcomes, task_class
from ..tasks._bootstrap import compare
from .bounds import bound_curve
from .evaluation import read_outcomes


@dataclass(frozen=True)
class Evaluation:
    """Where the outcomes of one variant on one task and seed lie."""

    task: str
    variant: str
    seed: int
    outcomes: Path
    artefacts: list[Path]
    checkpoint: Path
    counts: Path

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Evaluation":
        """From plain strings."""
        paths = {name: Path(value[name]) for name in ("outcomes", "checkpoint", "counts")}
        return cls(
            value["task"],
            value["variant"],
            value["seed"],
            artefacts=[Path(a) for a in value["artefacts"]],
            **paths,
        )


def aggregate(
    config: dict[str, Any], evaluations: list[Evaluation]
) -> tuple[pandas.DataFrame, pandas.DataFrame]:
    """Scores and errors by decile of all evaluations of a study.

    Returns:
        One row a score, and one row an artefact and decile.
    """
    baselines = {
        (e.task, e.seed): next(iter(read_outcomes(e.outcomes).values()))
        for e in evaluations
        if e.variant == study_config.IDENTITY
    }
    scores = []
    deciles = {}
    for evaluation in evaluations:
        found = read_outcomes(evaluation.outcomes)
        for folder in evaluation.artefacts:
            result = json.loads((folder / RESULT).read_text())
            about = _about(config, evaluation, folder, result)
            if "infeasible" in result:
                metric = metrics_of(config["tasks"][evaluation.task])[0]
                scores.append(about | {"metric": metric, "note": result["infeasible"]})
                continue
            baseline = baselines[evaluation.task, evaluation.seed]
            scores += _scores(config, evaluation.task, about, found[folder.name], baseline)
            if "reconstruction" in result:
                deciles[folder] = _deciles(config, evaluation, about, result["reconstruction"])
    return pandas.DataFrame(scores), pandas.DataFrame(
        [row for rows in deciles.values() for row in rows]
    )


def _about(
    config: dict[str, Any], evaluation: Evaluation, folder: Path, result: dict[str, Any]
) -> dict[str, Any]:
    """Columns that all scores of one artefact share."""
    task = config["tasks"][evaluation.task]
    variant = evaluation.variant
    row: dict[str, Any] = {
        "study": config["study"],
        "model": task["model"],
        "task": evaluation.task,
        "protocol": task["protocol"],
        "method": variant,
        "target_ratio": None if study_config.is_control(config, variant) else float(folder.name),
        "factor_dtype": _factor_dtype(config, variant),
        "seed": evaluation.seed,
        "note": "",
    }
    if "infeasible" in result:
        return row
    about = card(evaluation.checkpoint)
    near = result.get("reconstruction")
    of_embedding = result.get("dense_embedding_floats", math.prod(about["shape"]))
    dense_floats = result.get("dense_floats", of_embedding)
    floats = result["stored_floats"]
    # The rest of the model is fp32 and stays; a tied head is the same matrix and counted once,
    # unless it stays dense.
    dropped = dense_floats - of_embedding * (task.get("dense_head", False) and about["tied_head"])
    model_bits = 32 * (about["parameters"] - dropped) + result["stored_bits"]
    return row | {
        "achieved_ratio": result["ratio"],
        "parameter_ratio": dense_floats / floats if floats else None,
        "model_ratio": 32 * about["parameters"] / model_bits,
        # Errors are those of an embedding compressed alone.
        **(
            {name: near[name] for metric in METRICS for name in (metric, f"weighted_{metric}")}
            if near
            else {}
        ),
        **result.get("bound", {}),
    }


def _factor_dtype(config: dict[str, Any], variant: str) -> str | None:
    """Precision of a variant's factors.

    None where its method stores none, or its matrices are not stored alike.
    """
    choices = study_config.choices_of(config, variant)
    found = {
        choice.options.get("factor_dtype", "float32")
        if method_class(choice.method).has_factors
        else None
        for choice in choices
    }
    return found.pop() if len(found) == 1 else None


def _scores(
    config: dict[str, Any],
    task: str,
    about: dict[str, Any],
    outcomes: Outcomes,
    uncompressed: Outcomes,
) -> list[dict[str, Any]]:
    """Rows of all metrics of a task on one artefact."""
    return [
        about
        | {
            "metric": score.metric,
            "value": score.value,
            "n": score.n,
            "uncompressed_value": score.uncompressed,
            "retention": score.retention,
            "retention_low": score.low,
            "retention_high": score.high,
        }
        for score in compare(
            task_class(config["tasks"][task]["kind"]), outcomes, uncompressed, task
        )
        if score.metric in metrics_of(config["tasks"][task])
    ]


def _deciles(
    config: dict[str, Any], evaluation: Evaluation, about: dict[str, Any], near: dict[str, Any]
) -> list[dict[str, Any]]:
    """Metrics of one artefact by frequency decile, 1 = the most frequent tokens."""
    shared = {
        "model": checkpoint_label(config, evaluation.task),
        "method": evaluation.variant,
        "target_ratio": about["target_ratio"],
        "seed": evaluation.seed,
    }
    values = zip(*(near[f"decile_{metric}"] for metric in METRICS))
    return [
        shared | {"decile": i} | dict(zip(METRICS, row)) for i, row in enumerate(values, start=1)
    ]


def bounds(config: dict[str, Any], evaluations: list[Evaluation]) -> pandas.DataFrame:
    """The rate-distortion bound of every checkpoint of a study over a grid of ratios."""
    found = {
        (checkpoint_label(config, e.task), e.seed): (e.checkpoint, e.counts) for e in evaluations
    }
    rows = [
        {"model": model, "seed": seed} | row
        for (model, seed), files in found.items()
        for row in bound_curve(*files)
    ]
    return pandas.DataFrame(rows)


def checkpoint_label(config: dict[str, Any], task: str) -> str:
    """How plots call the checkpoint that a task runs on.

    Students go by their task, whose matrices are others.
    """
    checkpoint = (
        task if is_student(config["tasks"][task]) else study_config.checkpoint_of(config, task)
    )
    model = config["models"][config["tasks"][task]["model"]]["label"]
    return (
        f"{model} ({config['tasks'][checkpoint]['label']})"
        if checkpoint in config["tasks"]
        else model
    )


def labels(config: dict[str, Any]) -> dict[str, Any]:
    """How tables and plots call methods and tasks, and what they must know of them."""
    methods = {}
    tasks = {}
    for variant, entry in config["methods"].items():
        method = method_class(study_config.method_of(config, variant))
        methods[variant] = {
            "label": entry.get("label", method.label),
            "kind": method.kind,
            "reconstruction": method.reconstruction,
            "citation": method.citation,
            "compresses_layers": is_whole_model(entry),
            "base": study_config.method_of(config, variant),
        }
    for name, task in config["tasks"].items():
        known = {metric.name: metric for metric in task_class(task["kind"]).metrics}
        metric, *others = (known[metric] for metric in metrics_of(task))
        model = config["models"][task["model"]]["label"]
        tasks[name] = {
            "label": task["label"],
            "model": model,
            "checkpoint": checkpoint_label(config, name),
            "metric": metric.name,
            "metric_label": metric.label,
            "higher_is_better": metric.higher_is_better,
            "percent": metric.percent,
            "metrics": {other.name: other.label for other in others},
            "footnote": task.get("footnote", ""),
        }
    return {"methods": methods, "tasks": tasks, "ratios": config["ratios"]}
