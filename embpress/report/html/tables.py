"""The tables of a report: cells as shown, with the number that each is sorted by."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas
from pandas import DataFrame

from ...analysis.predictors import PREDICTOR_METRICS, Predictors
from ...analysis.published import Published
from ...analysis.scores import Labels, MethodLabel, mean_over_seeds
from ...analysis.verdicts import summarize_claim
from ..tables.rows import DASH, Notes, average_note, averaged, comparison, number
from ..tables.search import WHAT as OF_SEARCH
from ..tables.search import settings_of
from ..tables.whole_model import WHAT, blocks_of_tasks, heads_of

NOTHING = "–"
WHOLE = "‡ Compresses more than the embedding, of which its ratios are not."


class Cell(NamedTuple):
    """What is shown, and the number it is sorted by where it is one."""

    text: str
    sort: float | None = None


@dataclass(frozen=True)
class Table:
    """A sortable table under a category; `folded` ones are opened by the reader."""

    key: str
    category: str
    title: str
    caption: str
    heads: list[str]
    rows: list[list[Cell]]
    folded: bool = False

    @property
    def numeric(self) -> list[bool]:
        """Which columns hold numbers, and are aligned to the right."""
        return [any(r[i].sort is not None for r in self.rows) for i in range(len(self.heads))]


def value(x: float, decimals: int = 1) -> Cell:
    """A number as tables print it; a dash, sorted last, where there is none."""
    if x is None or math.isnan(x):
        return Cell(NOTHING)
    return Cell(number(round(float(x), decimals) + 0.0, decimals), float(x))


def text(words: Any) -> Cell:
    """Plain words."""
    return Cell(str(words))


def named(method: MethodLabel) -> Cell:
    """A method's label with its marks."""
    return text(method.label + " †" * method.reconstruction + " ‡" * method.compresses_layers)


def comparison_table(scores: DataFrame, labels: Labels) -> Table:
    """All methods for the embedding on all tasks: ratios of whole models are of other bits."""
    tasks = list(labels.tasks)
    rows = []
    alike = averaged(scores, tasks)
    for row in comparison(scores, labels):
        if row.compresses_layers:
            continue
        method = labels.methods[row.method]
        control = math.isnan(row.block)
        cells = [named(method), text(method.kind)]
        reached = row.spread("achieved_ratio")[0]
        cells += (
            [Cell(NOTHING), Cell(NOTHING)]
            if control
            else [
                value(row.asked),
                value(math.floor(reached * 100) / 100 if reached == reached else reached, 2),
            ]
        )
        for task in tasks:
            result = row.found.get(task)
            scale = 100 if labels.tasks[task].percent else 1
            cells += (
                [value(result.value * scale), value(result.retention)]
                if result
                else [Cell(NOTHING), Cell(NOTHING)]
            )
        rows.append([*cells, value(row.retention(alike))])
    heads = ["Method", "Kind", "Ratio asked", "Reached"]
    for task in tasks:
        about = labels.tasks[task]
        heads += [
            f"{about.label}: {about.metric_label} {'↑' if about.higher_is_better else '↓'}",
            "kept, %",
        ]
    caption = (
        "Kept: score / uncompressed score, where lower is better uncompressed score / score. Ratio: dense fp32 bits / bits "
        "stored. † Reconstruction, as the paper's full text was not available. Why a ratio was not reached: below. "
    ) + " ".join(average_note(scores, labels, tasks))
    return Table(
        "comparison", "Scores", "All methods on all tasks", caption, [*heads, "Mean kept, %"], rows
    )


def scores_table(scores: DataFrame, labels: Labels) -> Table:
    """Every metric of every task, with intervals."""
    rows = []
    for row in mean_over_seeds(scores).itertuples():
        about = labels.tasks[str(row.task)]
        metric = (
            about.metric_label
            if row.metric == about.metric
            else about.metrics.get(str(row.metric), str(row.metric))
        )
        found: Any = row
        scale = 100 if about.percent else 1
        rows.append(
            [
                *(text(about.label), text(metric), named(labels.methods[str(row.method)])),
                *(
                    value(found.target_ratio),
                    value(found.achieved_ratio, 2),
                    value(found.value * scale, 2),
                ),
                *(value(found.value_sd * scale, 2), value(found.retention, 2)),
                *(value(found.retention_low, 2), value(found.retention_high, 2)),
                *(Cell(NOTHING) if pandas.isna(found.n) else value(found.n, 0), text(found.note)),
            ]
        )
    heads = [
        "Task",
        "Metric",
        "Method",
        "Ratio asked",
        "Reached",
        "Score",
        "Sd over seeds",
        "Kept, %",
        "Low",
        "High",
        "n",
        "Note",
    ]
    caption = f"Low and high: 95 % bootstrap interval of what is kept, paired over test examples. n: test examples. {WHOLE}"
    return Table("scores", "Scores", "Every metric", caption, heads, rows, folded=True)


def averages_table(averages: DataFrame, entries: dict[str, Any], labels: Labels) -> Table:
    """Averages over the tasks of a benchmark.

    Args:
        averages: results/averages.csv.
        entries: the study's `averages`.
        labels: of the study.
    """
    means = mean_over_seeds(averages)
    rows = []
    # Rows of an average's tasks are called as the tasks are.
    for row in means[~means["metric"].isin(labels.tasks)].itertuples():
        found: Any = row
        rows.append(
            [
                *(text(entries[found.task]["label"]), named(labels.methods[found.method])),
                *(
                    value(found.target_ratio),
                    value(found.achieved_ratio, 2),
                    value(found.value * 100, 2),
                ),
                *(value(found.value_sd * 100, 2), value(found.retention, 2)),
                *(value(found.retention_low, 2), value(found.retention_high, 2), text(found.note)),
            ]
        )
    heads = [
        "Average",
        "Method",
        "Ratio asked",
        "Reached",
        "Score",
        "Sd over seeds",
        "Kept, %",
        "Low",
        "High",
        "Note",
    ]
    caption = (
        "Means over the tasks of a benchmark, only of methods that ran on all of them. Reached: the smallest over tasks. "
        f"Low and high: 95 % bootstrap interval of what is kept, paired over the test examples of each task. {WHOLE}"
    )
    return Table("averages", "Scores", "Averages over tasks", caption, heads, rows)


def whole_model_table(modules: DataFrame, scores: DataFrame, labels: Labels) -> Table:
    """What whole-model variants store and compute, kind by kind, and what they keep.

    Args:
        modules: results/modules.csv.
        scores: the table of scores.
        labels: of the same study.
    """
    notes = Notes()

    def shown(cell: str) -> Cell:
        """A cell of the printed table; of 62.1(3) the score decides the order."""
        reached = not cell.startswith(DASH)
        return (
            Cell(cell, float(cell.split("(")[0]))
            if reached
            else Cell(cell.replace(DASH, NOTHING).replace("^", " "))
        )

    rows = [
        [text(block.title), text(line.label), *map(shown, line.cells)]
        for block in blocks_of_tasks(modules, scores, labels, notes)
        for line in block.lines
    ]
    caption = " ".join(
        [*WHAT, *(f"{notes.mark(sentence)}: {sentence}" for sentence in notes.sentences)]
    )
    heads = [head.capitalize() if head.islower() else head for head in heads_of(modules)]
    return Table("whole_model", "Scores", "Whole models", caption, ["Task", *heads], rows)


def errors_table(scores: DataFrame, labels: Labels) -> Table:
    """How near each compressed matrix is to its original."""
    means = mean_over_seeds(scores)
    main = means["metric"] == means["task"].map({k: t.metric for k, t in labels.tasks.items()})
    found = means[main & means["relative_error"].notna()]
    checkpoint = found["task"].map({k: t.checkpoint or t.model for k, t in labels.tasks.items()})
    found = found.assign(checkpoint=checkpoint).drop_duplicates(
        ["checkpoint", "method", "target_ratio"]
    )
    metrics = [metric for metric in PREDICTOR_METRICS if metric != "achieved_ratio"]
    rows = [
        [
            *(text(row["checkpoint"]), text(labels.methods[row["method"]].label)),
            *(
                value(row["target_ratio"]),
                *(value(row[metric], 2 if metric.endswith("_db") else 4) for metric in metrics),
            ),
        ]
        for _, row in found.iterrows()
    ]
    heads = [
        "Checkpoint",
        "Method",
        "Ratio asked",
        *(PREDICTOR_METRICS[m][0].capitalize() for m in metrics),
    ]
    caption = "Weighted: by token counts. Distance: in dB, from the least error that any code can reach for Gaussian rows."
    return Table(
        "errors",
        "Errors of the matrix",
        "How near the matrices are",
        caption,
        heads,
        rows,
        folded=True,
    )


def predictors_table(found: Predictors, labels: Labels) -> Table:
    """Which cheap metric predicts what is kept."""
    columns = [(labels.tasks[task].label, c) for task, c in found.tasks.items()]
    columns += [("All tasks", found.pooled), ("Equal ratio", found.equal_ratio)]
    rows = []
    for metric, (label, _) in PREDICTOR_METRICS.items():
        cells = [text(label.capitalize())]
        for _, by_metric in columns:
            c = by_metric[metric]
            shown = value(c.value, 2)
            cells.append(
                shown._replace(text=f"{shown.text} [{c.low:.2f}, {c.high:.2f}]")
                if not math.isnan(c.low)
                else shown
            )
        rows.append(cells)
    caption = (
        "Spearman's rank correlation with what is kept, metrics turned so that 1 is best; in brackets 95 % intervals. Equal "
        "ratio: ranked within each task and ratio, so that a metric gains nothing by telling ratios apart."
    )
    return Table(
        "predictors",
        "Errors of the matrix",
        "What predicts a score",
        caption,
        ["Metric", *(t for t, _ in columns)],
        rows,
    )


def claims_table(claims: DataFrame, texts: dict[str, Any]) -> Table:
    """The papers' claims, each with one verdict over all its comparisons."""
    rows = [
        [text(about.get("label", about["paper"])), text(about["text"]), text(about["evidence"])]
        + [text(summarize_claim(claims[claims["claim"] == key]))]
        for key, about in texts.items()
    ]
    caption = "A comparison holds where the 95 % interval of the difference (paired bootstrap) lies on the claimed side of 0."
    return Table(
        "claims",
        "Claims",
        "Do the papers' claims hold?",
        caption,
        ["Paper", "Claim", "Read in", "Verdict"],
        rows,
    )


def comparisons_table(claims: DataFrame, labels: Labels) -> Table:
    """Every comparison behind the verdicts."""
    rows = [
        [
            *(text(str(row["claim"]).replace("_", " ")), text(labels.methods[row["better"]].label)),
            *(text(labels.methods[row["worse"]].label), text(labels.tasks[row["task"]].label)),
            *(text(str(row["metric"]).replace("_", " ")), value(row["ratio"])),
            *(
                value(row["better_value"], 3),
                value(row["worse_value"], 3),
                value(row["difference"], 3),
            ),
            *(value(row["low"], 3), value(row["high"], 3), text(row["verdict"])),
        ]
        for _, row in claims.iterrows()
    ]
    heads = [
        "Claim",
        "Better",
        "Worse",
        "Task",
        "Metric",
        "Ratio",
        "Better's",
        "Worse's",
        "Difference",
        "Low",
        "High",
    ]
    caption = "Low and high: the 95 % interval of the difference."
    return Table(
        "comparisons", "Claims", "Every comparison", caption, [*heads, "Verdict"], rows, folded=True
    )


def ablations_table(found: DataFrame, labels: Labels) -> Table:
    """Variants of one method at one ratio."""
    rows = []
    for _, row in found.iterrows():
        about = labels.tasks[row["task"]]
        base = labels.methods[row["base"]].label if row["base"] in labels.methods else row["base"]
        scale = 100 if about.percent else 1
        rows.append(
            [
                *(
                    text(base),
                    text(labels.methods[row["method"]].label),
                    text(about.label),
                    value(row["target_ratio"]),
                ),
                *(
                    value(row["achieved_ratio"], 2),
                    value(row["value"] * scale),
                    value(row["retention"]),
                ),
                *(
                    value(row["retention_low"]),
                    value(row["retention_high"]),
                    value(row["weighted_relative_error"], 3),
                ),
            ]
        )
    heads = [
        "Method",
        "Variant",
        "Task",
        "Ratio asked",
        "Reached",
        "Score",
        "Kept, %",
        "Low",
        "High",
        "Weighted error",
    ]
    return Table(
        "ablations",
        "Ablations",
        "Variants of one method",
        "At equal ratio asked.",
        heads,
        rows,
        folded=True,
    )


def sizes_table(sizes: DataFrame, labels: Labels) -> Table:
    """Where the bits are: of checkpoints, and of what methods store."""
    grouped = sizes.groupby(
        ["model", "method", "target_ratio", "part", "dtype", "why"], sort=False, dropna=False
    )
    rows = [
        [
            *(
                text(model),
                text(labels.methods[method].label if method else "the model itself"),
                value(ratio),
            ),
            *(text(part), text(dtype), value(float(bits) / 8e6, 3), text(why)),
        ]
        for (model, method, ratio, part, dtype, why), bits in grouped["bits"].mean().items()  # type: ignore[misc]
    ]
    heads = ["Checkpoint", "Method", "Ratio asked", "Part", "Type", "MB", "Why"]
    caption = (
        "MB: a million bytes, means over seeds. Of the model itself: what did not shrink, and why."
    )
    return Table("sizes", "Size and speed", "Where the bits are", caption, heads, rows, folded=True)


def speed_table(speed: DataFrame, labels: Labels) -> Table:
    """Latency of lookups."""
    rows = [
        [
            *(
                text(row["model"]),
                text(labels.methods[row["method"]].label),
                value(row["target_ratio"]),
            ),
            *(
                value(row["bytes"] / 1e6, 2),
                Cell(str(row["rows"]), row["rows"]),
                value(row["microseconds"]),
            ),
            *(value(row["low"]), value(row["high"]), value(row["microseconds"] / row["dense"], 2)),
        ]
        for _, row in speed.iterrows()
    ]
    heads = [
        "Model",
        "Method",
        "Ratio asked",
        "MB",
        "Rows",
        "µs a lookup",
        "Low",
        "High",
        "× dense",
    ]
    caption = "One thread; median and quartiles. × dense: times a dense lookup of the same rows in the same run."
    return Table("speed", "Size and speed", "Lookups", caption, heads, rows, folded=True)


def published_table(papers: dict[str, list[Published]]) -> Table:
    """What the papers published, as far as a source was found."""
    cells: Iterable[Published] = (cell for paper in papers.values() for cell in paper)
    rows = [
        [
            *(
                text(c.paper),
                text(c.table),
                text(c.model),
                text(c.base),
                text(c.protocol),
                text(c.ratio),
                text(c.dataset),
            ),
            *(
                text(c.metric),
                Cell(c.value, float(c.value)) if c.value else Cell("not available"),
                text(c.source),
                text(c.note),
            ),
        ]
        for c in cells
    ]
    heads = [
        "Paper",
        "Table",
        "Row",
        "Base model",
        "Protocol",
        "Ratio",
        "Data",
        "Metric",
        "Value",
        "Source",
        "Note",
    ]
    caption = (
        "Only numbers whose source was found are quoted. Models, data and protocols are not ours."
    )
    return Table(
        "published", "Claims", "What the papers published", caption, heads, rows, folded=True
    )


def search_table(found: DataFrame, labels: Labels) -> Table:
    """How the candidates for fine-tuning's settings scored.

    Args:
        found: results/search.csv.
        labels: of the same study.
    """
    rows = []
    for row in found.itertuples():
        task: Any = labels.tasks[str(row.task)]
        cells = [
            text(f"{task.label}, {task.model}"),
            text(settings_of(row)),
            text(task.metric_label),
        ]
        cells += [value(100 * row.score, 2), value(row.trained_on, 0), value(row.held_out, 0)]  # type: ignore[operator, arg-type]
        rows.append([*cells, text("chosen" if row.chosen else "")])
    heads = ["Task", "Settings", "Metric", "Score", "Trained on", "Held out", "Choice"]
    return Table("search", "Training", "Search for settings of fine-tuning", OF_SEARCH, heads, rows)


def jobs_table(jobs: list[dict[str, Any]]) -> Table:
    """Time and memory of every job."""
    rows = [
        [
            *(
                text(job["rule"]),
                text(", ".join(f"{k} {v}" for k, v in job["wildcards"].items())),
                value(job["threads"], 0),
            ),
            *(value(job["seconds"]), value(job["peak_mb"], 0)),
        ]
        for job in jobs
    ]
    return Table(
        "jobs",
        "Provenance",
        "All jobs",
        "As each recorded itself.",
        ["Rule", "Of", "Threads", "Seconds", "Peak MB"],
        rows,
        True,
    )


def rules_table(jobs: list[dict[str, Any]]) -> Table:
    """Time and memory by rule."""
    rows = []
    for rule in dict.fromkeys(job["rule"] for job in jobs):
        own = [job for job in jobs if job["rule"] == rule]
        seconds = [job["seconds"] for job in own]
        rows.append(
            [
                text(rule),
                value(len(own), 0),
                value(sum(seconds)),
                value(max(seconds)),
                value(max(j["peak_mb"] for j in own), 0),
            ]
        )
    caption = "Wall-clock seconds of all jobs of a rule, of the longest, and the most memory that one held."
    return Table(
        "rules",
        "Provenance",
        "Run times",
        caption,
        ["Rule", "Jobs", "Seconds", "Longest", "Peak MB"],
        rows,
    )
