"""A made-up study, for tests of scores, tables and plots."""

import dataclasses
import math

import numpy as np
import pandas

from embpress.analysis.scores import KEY_COLUMNS, SCORE_COLUMNS, Labels, MethodLabel
from embpress.study import search
from embpress.study.task_training import FineTuning

RATIOS = [4.0, 10.0, 25.0]
# method: (label, kind, reconstruction, retention lost at 4x in %, own ratio)
METHODS = {
    "identity": ("uncompressed", "control", False, 0, None),
    "random": ("random rows", "control", False, 45, None),
    "mean": ("mean row", "control", False, 42, None),
    "int8": ("int8 rows", "baseline", False, 0.1, 3.9),
    "int4": ("int4 rows", "baseline", False, 2, None),
    "svd": ("SVD", "baseline", False, 4, None),
    "kronecker": ("Kronecker (init only)", "paper", False, 14, None),
    "b21": ("B21 binary codes", "paper", False, 3, None),
    "b23": ("B23 mixture of decoders", "paper", False, 1.5, None),
    "lighttoken": ("LightToken", "paper", True, 2.5, None),
    "t24": ("T24 sparse coding", "paper", True, 3.5, None),
}
# task: (label, model key, model, protocol, metric, metric label, higher, n, uncompressed, footnote)
NOTE = (
    "Weights come from a 4-bit copy whose rows lie on a grid: codecs of 4 bits and more look "
    "lossless here."
)
TASKS = {
    "rotten": (
        "Rotten Tomatoes",
        "minilm",
        "MiniLM-L6",
        "finetune_then_compress",
        "accuracy",
        "accuracy",
        True,
        1000,
        0.78,
        "",
    ),
    "bitext": (
        *(
            "Japanese-English retrieval",
            "e5",
            "multilingual E5-small",
            "zero_shot",
            "accuracy",
            "accuracy at 1",
            True,
        ),
        *(2000, 0.91, NOTE),
    ),
    "wikitext": (
        *(
            "Wikipedia excerpt",
            "smollm2",
            "SmolLM2-135M",
            "zero_shot",
            "perplexity",
            "perplexity",
            False,
        ),
        *(2048, 19.13, "The tied output head uses the same compressed matrix."),
    ),
    "similarity": (
        "Similarity",
        "minilm",
        "MiniLM-L6",
        "zero_shot",
        "spearman",
        "mean Spearman",
        True,
        1400,
        0.61,
        "",
    ),
}
EXTRA = {
    "bitext": ["accuracy_ja_en", "accuracy_en_ja"],
    "similarity": ["spearman_lee50", "spearman_simlex999", "spearman_wordsim353"],
}
CITATIONS = {
    "kronecker": "tahaei2022kroneckerbert",
    "b21": "balazy2021direction",
    "b23": "banaei2023revisiting",
    "lighttoken": "wang2023lighttoken",
    "t24": "tamura2024frequency",
}
BASES = {"int8": "integer", "int4": "integer"}
HARDNESS = {"rotten": 1.0, "bitext": 1.8, "wikitext": 2.4, "similarity": 1.3}


def fake_labels():
    methods = {
        k: {
            "label": v[0],
            "kind": v[1],
            "reconstruction": v[2],
            "citation": CITATIONS.get(k, ""),
            "base": BASES.get(k, k),
        }
        for k, v in METHODS.items()
    }
    names = ("label", "model", "metric", "metric_label", "higher_is_better", "footnote")
    tasks = {k: dict(zip(names, (v[0], v[2], v[4], v[5], v[6], v[9]))) for k, v in TASKS.items()}
    return Labels.from_json({"methods": methods, "tasks": tasks, "ratios": RATIOS})


def _row(task, method, asked, seed, random):
    label, model, _, protocol, metric, _, higher, n, base, _ = TASKS[task]
    lost = METHODS[method][3]
    scale = 1 if asked is None else (asked / 4) ** 0.9
    left = 100 * np.exp(-lost * scale * HARDNESS[task] / 100) + (lost > 0) * random.normal(0, 0.4)
    if method in ("random", "mean") and task == "wikitext":
        left = 0.02 if method == "random" else 1.4
    width = 0 if lost == 0 else 0.5 + (100 - left) / 25
    reached = {None: 1.0}.get(asked, (asked or 1) * (1 + random.uniform(0.0005, 0.02)))
    error = (
        0 if lost == 0 else min(1.4 if method == "random" else 1.0, 0.09 * (lost * scale) ** 0.6)
    )
    value = base * left / 100 if higher else base / left * 100
    return {
        **dict(
            study="default",
            model=model,
            task=task,
            protocol=protocol,
            method=method,
            setting="best",
            target_ratio=asked,
        ),
        **dict(
            achieved_ratio=reached, parameter_ratio=reached * 1.1, model_ratio=1 + (reached - 1) / 3
        ),
        **dict(
            factor_dtype="float32",
            seed=seed,
            metric=metric,
            value=value,
            n=n,
            uncompressed_value=base,
        ),
        **dict(retention=left, retention_low=left - width, retention_high=left + width * 0.8),
        **dict(mean_retention_low=left - width, mean_retention_high=left + width * 0.8),
        **dict(
            relative_error=error, mean_cosine=1 - error**2 / 2, weighted_relative_error=error * 0.8
        ),
        **dict(
            weighted_mean_cosine=1 - error**2 / 3,
            neighbour_overlap=1 - error / 2,
            eigenspace_overlap=1 - error / 3,
        ),
        **dict(
            weighted_neighbour_overlap=1 - error / 2.5, weighted_eigenspace_overlap=1 - error / 3.5
        ),
        **dict(
            error_bound=0.6 * error,
            weighted_error_bound=0.3 * error,
            distance_db=4 + error,
            weighted_distance_db=8 + error,
            note="",
        ),
    }


def _infeasible(row, note):
    keys = {*KEY_COLUMNS, "setting"}
    return {c: row[c] if c in keys else None for c in SCORE_COLUMNS} | {"note": note}


def fake_scores(seeds=1):
    random = np.random.default_rng(0)
    rows = []
    for task in TASKS:
        for method, (label, kind, _, _, own) in METHODS.items():
            for asked in [None] if kind == "control" else [own] if own else RATIOS:
                for seed in range(seeds):
                    row = _row(task, method, asked, seed, random)
                    if method == "int4" and asked > 4:
                        note = f"{label} reaches at most 7.8 on 30522 x 384: use a lower ratio"
                        rows.append(_infeasible(row, note))
                        continue
                    more = {
                        m: row["value"] * (0.95 + 0.05 * i)
                        for i, m in enumerate(EXTRA.get(task, []))
                    }
                    rows += [
                        row,
                        *(row | {"metric": m, "value": v, "n": 500} for m, v in more.items()),
                    ]
    return pandas.DataFrame(rows, columns=SCORE_COLUMNS)


def fake_ablations():
    """The made-up study with a variant of B23 that is a little worse, at all ratios but the last.

    Which it cannot reach.
    """
    scores = fake_scores()
    labels = fake_labels()
    own = scores[scores["method"] == "b23"].copy()
    own["method"] = "b23_plain"
    for column in ("retention", "mean_retention_low", "mean_retention_high"):
        own[column] -= 5
    last = own["target_ratio"] == RATIOS[-1]
    own.loc[
        last,
        [
            "value",
            "retention",
            "mean_retention_low",
            "mean_retention_high",
            "weighted_relative_error",
            "achieved_ratio",
        ],
    ] = np.nan
    own.loc[last, "note"] = "b23_plain reaches at most 12"
    method = MethodLabel("B23, plain_norms", "paper", base="b23")
    labels = dataclasses.replace(labels, methods={**labels.methods, "b23_plain": method})
    return pandas.concat([scores, own], ignore_index=True), labels


def fake_sizes():
    """What the dense embeddings of the made-up study take, as results/sizes.csv says it."""
    rows = [
        {"model": model, "method": "", "bits": 32 * 30522 * 384}
        for model in dict.fromkeys(t[2] for t in TASKS.values())
    ]
    return pandas.DataFrame(rows)


def fake_speed():
    """results/speed.csv of the made-up study."""
    rows = []
    for model in ("MiniLM-L6", "SmolLM2-135M"):
        for n in (1, 128):
            about = {"model": model, "rows": n, "dense": 10.0 * n}
            rows.append(
                about
                | {
                    "method": "identity",
                    "target_ratio": None,
                    "bytes": 4 * 30522 * 384,
                    "microseconds": 10.0 * n,
                }
            )
            for i, (method, (_, kind, _, _, own)) in enumerate(METHODS.items()):
                for asked in [] if kind == "control" else [own] if own else RATIOS:
                    size = int(4 * 30522 * 384 / asked)
                    rows.append(
                        about
                        | {
                            "method": method,
                            "target_ratio": asked,
                            "bytes": size,
                            "microseconds": 5.0 * n * (i + 1),
                        }
                    )
    return pandas.DataFrame(rows).assign(
        low=lambda r: 0.9 * r["microseconds"],
        high=lambda r: 1.2 * r["microseconds"],
        cached=2.0,
        decoded=1.0,
    )


def fake_spectra():
    """results/spectra.csv of the made-up study."""
    rows = [
        {"model": model, "rows": 30522, "dims": 384, "component": i, "singular_value": 100 / i}
        for model in ("MiniLM-L6", "SmolLM2-135M")
        for i in range(1, 385)
    ]
    return pandas.DataFrame(rows)


GRID = {"learning_rate": [5e-5, 3e-5, 2e-5], "epochs": [3, 4], "batch_size": 32, "held_out": 0.1}


def fake_search(tasks=("rotten",)):
    """Scores of six candidates for the settings of each of some tasks.

    Of each the third is chosen.
    """
    names = search.candidates(FineTuning.model_validate(GRID))
    about = {"seed": 0, "metric": "accuracy", "trained_on": 9000, "held_out": 1000}
    scores = [0.80, 0.81, 0.86, 0.85, math.nan, 0.86]
    found = [about | {"candidate": name, "score": score} for name, score in zip(names, scores)]
    return pandas.DataFrame(search.rows(dict.fromkeys(tasks, found)))


def fake_training():
    """Training of two checkpoints and two seeds, one with held-out rows.

    And of students of `similarity` in two stages.
    """
    about = [("finetuned", task, "", None, task == "rotten") for task in ("rotten", "bitext")]
    students = [
        (method, ratio)
        for method, (*_, kind, _, _, own) in METHODS.items()
        if kind == "paper"
        for ratio in RATIOS
    ]
    about += [("students_on_text", "similarity", *students[0], False)]
    about += [("students", "similarity", *student, False) for student in students]
    rows = [
        {
            "stage": stage,
            "task": task,
            "method": method,
            "ratio": ratio,
            "seed": seed,
            "step": 10 * i,
            "epoch": i / 4,
        }
        | {
            "loss": (1 + seed / 9) * (10 + ratio) * len(METHODS[method][0]) * np.exp(-i / 3)
            if method
            else 1 / (i + 1 + seed)
        }
        | {
            "learning_rate": 1e-4,
            "held_out_loss": 0.8 / (i + 1) if held_out and i % 4 == 0 else np.nan,
        }
        for stage, task, method, ratio, held_out in about
        for seed in (0, 1)
        for i in range(1, 9)
    ]
    return pandas.DataFrame(rows)
