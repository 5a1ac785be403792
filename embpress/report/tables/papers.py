"""One table a paper, in its own shape.

The numbers that it published, ours below them, and what differs.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from pandas import DataFrame

from ...analysis.published import Published
from ...analysis.scores import Labels, mean_over_seeds
from ...errors import UserError
from .latex import (
    BREAK,
    FOOTNOTESIZE,
    PROTOCOLS,
    cell,
    escape,
    footnotes,
    method_label,
    s_column,
    stacked,
    tabular,
    width_of,
)
from .rows import Notes, Row, blocks_of, bold, comparison, general_notes, score_columns

MISSING = "not available"
UP = r"\,$\uparrow$"
DOWN = r"\,$\downarrow$"
UNNAMED = "score"
"""A published metric that what was read does not name."""


@dataclass(frozen=True)
class Measure:
    """One column: what the paper measured, what our study did, or both where they are the same."""

    head: str
    published: tuple[str, str] | None = None
    """Data set and metric."""
    task: str | None = None


def paper_table(cells: list[Published], scores: DataFrame, labels: Labels) -> str:
    """LaTeX: a tabular for each set of columns that the paper has, and one of the study's tasks.

    Where the paper has one table alone, as those known by their abstract have, the study's tasks
    stand beside it.

    Args:
        cells: of one paper, from `read_published`.
        scores: the table of scores; means over its seeds are shown.
        labels: of the same study.

    Raises:
        UserError: if the labels do not say which method comes from which paper.
    """
    notes = Notes()
    rows = _own_rows(cells, scores, labels)
    groups = _grids(cells, labels)
    own = _task_measures(labels)
    if len(groups) == 1:
        measures, blocks = groups[0]
        matched = {m.task for m in measures}
        grids = [(measures + [m for m in own if m.task not in matched], blocks)]
    else:
        grids = [*groups, (own, [])]
    # Several grids fill a page: all in the smaller size.
    small = len(grids) > 1
    of_model = any(c.ratio_of == "model" for c in cells)
    parts = [
        _grid(measures, blocks, rows, labels, notes, of_model, small) for measures, blocks in grids
    ]
    general = [*_differences(cells, rows, scores, labels), *_sources(cells)]
    general += general_notes(scores, labels, list(labels.tasks))[
        1:
    ]  # the first tells of retention, which is not shown
    return "\\par\\medskip\n".join(parts) + footnotes(notes, general, rows, labels)


def _own_rows(cells: list[Published], scores: DataFrame, labels: Labels) -> list[Row]:
    """Ours: the uncompressed model, the paper's method in all its variants.

    And methods that its own rows name.
    """
    cited = {m: a.citation for m, a in labels.methods.items() if a.citation}
    if not cited and any(a.kind == "paper" for a in labels.methods.values()):
        raise UserError(
            "labels.json does not say which method is from which paper: make it anew with the rule `scores`"
        )
    named = {c.model for c in cells}
    shown = {
        m for m, a in labels.methods.items() if cited.get(m) == cells[0].paper or a.label in named
    }
    if not any(cited.get(m) == cells[0].paper for m in shown):
        return []
    return [row for row in comparison(scores, labels) if row.method in shown | {"identity"}]


def _grids(
    cells: list[Published], labels: Labels
) -> list[tuple[list[Measure], list[list[Published]]]]:
    """The paper's tables, those with the same columns, or some of them, together."""
    grids: list[tuple[list[Measure], list[list[Published]]]] = []
    for _, table in groupby(cells, key=lambda c: c.table):
        block = list(table)
        wanted = list(dict.fromkeys((c.dataset, c.metric) for c in block))
        for measures, blocks in grids:
            if set(wanted) <= {m.published for m in measures}:
                blocks.append(block)
                break
        else:
            grids.append(([_measure(*key, labels) for key in wanted], [block]))
    return grids


def _measure(dataset: str, metric: str, labels: Labels) -> Measure:
    """A published column, with the task that has the same data and metric."""
    same = [
        task
        for task, about in labels.tasks.items()
        if about.label.casefold() == dataset.casefold() and metric in (UNNAMED, about.metric_label)
    ]
    return Measure(
        _head([dataset, "" if metric == UNNAMED else metric]),
        (dataset, metric),
        same[0] if same else None,
    )


def _task_measures(labels: Labels) -> list[Measure]:
    """The study's tasks by their main metric."""
    return [
        Measure(_head([t.label, t.metric_label], UP if t.higher_is_better else DOWN), None, task)
        for task, t in labels.tasks.items()
    ]


def _head(texts: list[str], arrow: str = "") -> str:
    """The head of a column: each text in short lines above each other."""
    lines = [
        escape(line) for text in texts for line in textwrap.wrap(text, 10, break_long_words=False)
    ]
    return rf"{{\scriptsize\shortstack{{{BREAK.join(lines)}{arrow}}}}}"


@dataclass(frozen=True)
class Line:
    """One row as shown; cells are None where there is no number."""

    label: str
    leading: list[str]
    cells: list[str | None]
    strong: set[int]


def _grid(
    measures: list[Measure],
    published: list[list[Published]],
    rows: list[Row],
    labels: Labels,
    notes: Notes,
    of_model: bool,
    small: bool,
) -> str:
    """One tabular: blocks of published rows, then ours by ratio asked."""
    parameters = any(c.parameters for block in published for c in block)
    blocks = [
        (f"Published, {b[0].table}: {b[0].suite}", _published_lines(b, measures, parameters))
        for b in published
    ]
    if any(m.task for m in measures) and rows:
        blocks += _own_blocks(rows, measures, labels, notes, of_model, parameters)
    n_columns = 2 + parameters + len(measures)
    texts = [line for _, lines in blocks for line in lines]
    lines = []
    for title, block in blocks:
        lines += [r"\midrule", _title(title, n_columns)]
        lines += [
            " & ".join([line.label, *line.leading, *_spans(line, measures)]) + r" \\"
            for line in block
        ]
    if not rows:
        lines += [
            r"\midrule",
            _title(f"Ours: {MISSING}, as the study has no row of this method", n_columns),
        ]
    elif not any(m.task for m in measures):
        lines += [
            r"\midrule",
            _title(f"Ours: {MISSING}, as no task of the study has these data", n_columns),
        ]
    ratio = stacked("Ratio of the model" if of_model else "Ratio", 8)
    leading = [*([stacked("Params (M)", 6)] if parameters else []), ratio]
    header = (
        _whose(measures, 1 + len(leading))
        + " & ".join(["", *leading, *(m.head for m in measures)])
        + r" \\"
    )
    columns = [
        [t for line in texts if (t := line.cells[i]) is not None] for i in range(len(measures))
    ]
    spec = "@{}l" + "r" * len(leading) + "".join(map(s_column, columns)) + "@{}"
    widths = [max((width_of(t) for t in column), default=0) for column in columns]
    labels_width = max(
        (width_of(" ".join([line.label, *line.leading])) for line in texts), default=0
    )
    return tabular(
        spec,
        header,
        lines,
        FOOTNOTESIZE + 1 if small else labels_width + sum(max(w, 8) for w in widths),
    )


def _whose(measures: list[Measure], n_before: int) -> str:
    """A line over the columns that says whose data they are; "" where all are of one side."""
    of_paper = sum(m.published is not None for m in measures)
    if of_paper in (0, len(measures)):
        return ""
    ends = (n_before + of_paper, n_before + len(measures))
    sides = {"The paper's data": of_paper, "Our data": len(measures) - of_paper}
    heads = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{side}}}" for side, n in sides.items())
    rules = rf"\cmidrule(lr){{{n_before + 1}-{ends[0]}}}\cmidrule(lr){{{ends[0] + 1}-{ends[1]}}}"
    return "& " * n_before + heads + r" \\" + f"\n{rules}\n"


def _title(text: str, n_columns: int) -> str:
    """A line over all columns."""
    return rf"\multicolumn{{{n_columns}}}{{@{{}}l}}{{\itshape {escape(text)}}} \\"


def _published_lines(
    block: list[Published], measures: list[Measure], parameters: bool
) -> list[Line]:
    """A line a model and ratio."""
    lines = []
    for (model, ratio), group in groupby(block, key=lambda c: (c.model, c.ratio)):
        found = {(c.dataset, c.metric): c for c in group}
        size = next(iter(found.values())).parameters
        cells = [
            found[m.published].value or None if m.published in found else None for m in measures
        ]
        lines.append(Line(escape(model), [*([size] if parameters else []), ratio], cells, set()))
    return lines


def _own_blocks(
    rows: list[Row],
    measures: list[Measure],
    labels: Labels,
    notes: Notes,
    of_model: bool,
    parameters: bool,
) -> list[tuple[str, list[Line]]]:
    """Ours, by the ratio asked of the embedding."""
    columns = [
        score_columns(labels, m.task, notes, both=True)[0] if m.task else None for m in measures
    ]
    blocks = []
    for title, block in blocks_of(rows):
        strong = [bold(block, c) if c and len(block) > 1 else set() for c in columns]
        lines = []
        for i, row in enumerate(block):
            ratio = (
                row.ratio("model_ratio", spread=True) if of_model else row.ratio("achieved_ratio")
            )
            cells = [c.text(row) if c else None for c in columns]
            label = method_label(row, labels, notes)
            best = {j for j, positions in enumerate(strong) if i in positions}
            lines.append(Line(label, [*([""] if parameters else []), ratio], cells, best))
        of = "" if block[0].compresses_layers else " of the embedding"  # its title says of what
        blocks.append((f"Ours, {title[0].lower()}{title[1:]}{of}" if title else "Ours", lines))
    return blocks


def _spans(line: Line, measures: list[Measure]) -> list[str]:
    """The cells of a line in LaTeX; neighbours of the same side that are missing make one."""
    shown = []
    sides = [
        (text is None, measure.published is None) for text, measure in zip(line.cells, measures)
    ]
    for (missing, _), group in groupby(enumerate(line.cells), key=lambda pair: sides[pair[0]]):
        found = list(group)
        if missing:
            words = MISSING if len(found) > 1 else rf"\shortstack{{{MISSING.replace(' ', BREAK)}}}"
            shown.append(rf"\multicolumn{{{len(found)}}}{{c}}{{\tiny {words}}}")
        else:
            shown += [cell(text, i in line.strong) for i, text in found if text is not None]
    return shown


def _differences(
    cells: list[Published], rows: list[Row], scores: DataFrame, labels: Labels
) -> list[str]:
    """Model, data and protocol of the paper, and ours beside each."""
    protocols = mean_over_seeds(scores).groupby("task")["protocol"].first()

    def ours(values: dict[str, str]) -> str:
        return "; ".join(
            f"{v} ({', '.join(labels.tasks[t].label for t in ts)})"
            for v, ts in _by_value(values).items()
        )

    def protocol(name: str) -> str:
        return PROTOCOLS.get(name, name)

    of_model = any(c.ratio_of == "model" for c in cells)
    # Of several tables the names of all data would fill the page.
    data = _listed(
        (c.suite for c in cells)
        if len({c.table for c in cells}) > 1
        else (c.dataset for c in cells)
    )
    return [
        f"What differs. Model: {_listed(c.base for c in cells)} in the paper, here "
        f"{ours({t: a.model or a.checkpoint or t for t, a in labels.tasks.items()})}.",
        f"Data: {data} in the paper, here {_listed(t.label for t in labels.tasks.values())}.",
        f"Protocol: {_listed(protocol(c.protocol) for c in cells if c.protocol)} in the paper, here "
        f"{ours({t: protocol(str(protocols.get(t, ''))) for t in labels.tasks})}.",
        "Ratios: of the "
        + ("model" if of_model else "embedding")
        + " as published; ours count all bits stored.",
    ]


def _by_value(values: dict[str, str]) -> dict[str, list[str]]:
    """Keys by their value, in order."""
    keys: dict[str, list[str]] = {}
    for key, value in values.items():
        keys.setdefault(value, []).append(key)
    return keys


def _listed(values: Iterable[str]) -> str:
    """Each once, in order."""
    return "; ".join(dict.fromkeys(values))


def _sources(cells: list[Published]) -> list[str]:
    """Where the numbers come from, and what must be known of them."""
    evidence = {f"{c.evidence} ({c.source})": None for c in cells}
    return [
        f"Published numbers: {'; '.join(evidence)}.",
        *dict.fromkeys(c.note for c in cells if c.note),
    ]
