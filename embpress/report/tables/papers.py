"""Tables of one paper each: the numbers that it published, ours below them, and what differs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby

from pandas import DataFrame

from ...analysis.published import Published
from ...analysis.scores import Labels
from ...errors import UserError
from .rows import (
    BEST,
    PROTOCOLS,
    Row,
    RowColumn,
    compared_rows,
    metric_head,
    sections_of,
    seed_and_task_notes,
    task_columns,
)
from .table import Cell, Column, Notes, Section, Table, flat_table, text_columns

MISSING = "not available"
UNNAMED = "score"
"""The metric of a published number whose source does not name it."""
SIDES = {True: ("The paper's data",), False: ("Our data",)}


@dataclass(frozen=True)
class Measure:
    """One column: what the paper measured, what our study did, or both where they are the same."""

    head: str
    published: tuple[str, str] | None = None
    """Data set and metric."""
    task: str | None = None


@dataclass
class Grid:
    """Tables of the paper that have the same columns, or some of them."""

    measures: list[Measure]
    blocks: list[list[Published]]


def paper_tables(cells: list[Published], scores: DataFrame, labels: Labels) -> list[Table]:
    """A table for each set of columns that the paper has, and one of the study's tasks.

    Where the paper has a single table, as those known by their abstract have, the study's tasks
    stand beside it. The last table has the notes.

    Args:
        cells: of one paper, from `read_published`.
        scores: the table of scores; means over its seeds are shown.
        labels: of the same study.

    Raises:
        UserError: if the labels do not say which method comes from which paper.
    """
    rows = _own_rows(cells, scores, labels)
    grids = _grids(cells, labels)
    own = _task_measures(labels)
    if len(grids) == 1:
        matched = {measure.task for measure in grids[0].measures}
        grids[0].measures += [measure for measure in own if measure.task not in matched]
    else:
        grids.append(Grid(own, []))
    notes = Notes()
    of_model = any(c.ratio_of == "model" for c in cells)
    tables = [_table(cells[0].paper, grid, rows, labels, notes, of_model) for grid in grids]
    general = [*_differences(cells, scores, labels), *_sources(cells)]
    general += seed_and_task_notes(scores, labels, list(labels.tasks))
    tables[-1] = replace(tables[-1], notes=general, bold=BEST)
    return tables


def published_table(papers: dict[str, list[Published]]) -> Table:
    """All published numbers, as far as a source was found."""
    rows = []
    for cell in (cell for paper in papers.values() for cell in paper):
        value = Cell(cell.value, float(cell.value)) if cell.value else Cell(MISSING)
        source = (cell.paper, cell.table, cell.model, cell.base, cell.protocol)
        measure = (cell.ratio, cell.dataset, cell.metric)
        rows.append(
            [*map(Cell, source), *map(Cell, measure), value, Cell(cell.source), Cell(cell.note)]
        )
    columns = [
        *text_columns("Paper", "Table", "Row", "Base model", "Protocol", "Ratio", "Data", "Metric"),
        Column("Value"),
        *text_columns("Source", "Note"),
    ]
    note = (
        "Only numbers with a known source are quoted. Models, data and protocols differ from ours."
    )
    return flat_table("published", "What the papers published", columns, rows, note)


def _own_rows(cells: list[Published], scores: DataFrame, labels: Labels) -> list[Row]:
    """Our rows of the uncompressed model, the paper's method, and methods that the paper compares.

    None where the study lacks the paper's method.
    """
    cited = {m: a.citation for m, a in labels.methods.items() if a.citation}
    if not cited and any(a.kind == "paper" for a in labels.methods.values()):
        raise UserError(
            "labels.json does not say which method is from which paper: "
            "run the rule `scores` again to replace it"
        )
    own = {method for method, citation in cited.items() if citation == cells[0].paper}
    if not own:
        return []
    named = {c.model for c in cells}
    compared = {m: a for m, a in labels.methods.items() if a.label in named}
    bases = {a.base for a in compared.values() if a.base}
    as_published = {
        m for m, a in labels.methods.items() if a.setting == "published" and a.base in bases
    }
    shown = own | {"identity"} | set(compared) | as_published
    return [row for row in compared_rows(scores, labels) if row.method in shown]


def _grids(cells: list[Published], labels: Labels) -> list[Grid]:
    """The paper's tables, those with the same columns, or some of them, together."""
    grids: list[Grid] = []
    for _, table in groupby(cells, key=lambda c: c.table):
        block = list(table)
        wanted = list(dict.fromkeys((c.dataset, c.metric) for c in block))
        for grid in grids:
            if set(wanted) <= {measure.published for measure in grid.measures}:
                grid.blocks.append(block)
                break
        else:
            grids.append(Grid([_measure(*key, labels) for key in wanted], [block]))
    return grids


def _measure(dataset: str, metric: str, labels: Labels) -> Measure:
    """A published column, with the task that has the same data and metric."""
    same = [
        task
        for task, about in labels.tasks.items()
        if about.label.casefold() == dataset.casefold() and metric in (UNNAMED, about.metric_label)
    ]
    head = dataset if metric == UNNAMED else f"{dataset}\n{metric}"
    return Measure(head, (dataset, metric), same[0] if same else None)


def _task_measures(labels: Labels) -> list[Measure]:
    """The study's tasks by their main metric."""
    return [
        Measure(f"{about.label}\n{metric_head(about)}", None, task)
        for task, about in labels.tasks.items()
    ]


def _table(
    key: str, grid: Grid, rows: list[Row], labels: Labels, notes: Notes, of_model: bool
) -> Table:
    """One table: blocks of published rows, then ours by target ratio."""
    has_parameters = any(c.parameters for block in grid.blocks for c in block)
    published = [measure.published is not None for measure in grid.measures]
    both = any(published) and not all(published)
    measures = [
        Column(measure.head, SIDES[side] if both else ())
        for measure, side in zip(grid.measures, published)
    ]
    leading = [Column("Params (M)", align="right", width=6)] * has_parameters
    leading += [Column("Ratio of the model" if of_model else "Ratio", align="right", width=8)]
    sections = [
        Section(
            f"Published, {block[0].table}: {block[0].suite}",
            _published_rows(block, grid.measures, has_parameters),
        )
        for block in grid.blocks
    ]
    has_tasks = any(measure.task for measure in grid.measures)
    if not rows:
        reason = "as the study has no row of this method"
        sections.append(Section(f"Ours: {MISSING}, {reason}", []))
    elif not has_tasks:
        reason = "as no task of the study has these data"
        sections.append(Section(f"Ours: {MISSING}, {reason}", []))
    else:
        columns = _leading_columns(leading, of_model)
        columns += [
            _measure_column(column, measure, labels, notes)
            for column, measure in zip(measures, grid.measures)
        ]
        sections += [_own(section) for section in sections_of(rows, columns, labels, notes)]
    return Table(
        f"paper_{key}",
        "Published numbers and ours",
        [Column("", align="left"), *leading, *measures],
        sections,
        footnotes=notes,
    )


def _published_rows(
    block: list[Published], measures: list[Measure], has_parameters: bool
) -> list[list[Cell]]:
    """A row for each model and ratio."""
    rows = []
    for (model, ratio), group in groupby(block, key=lambda c: (c.model, c.ratio)):
        by_measure = {(c.dataset, c.metric): c for c in group}
        size = next(iter(by_measure.values())).parameters
        values = [
            by_measure[m.published].value if m.published in by_measure else "" for m in measures
        ]
        numbers = [Cell(v) if v else Cell(MISSING, missing=True) for v in values]
        rows.append([Cell(model), *([Cell(size)] * has_parameters), Cell(ratio), *numbers])
    return rows


def _leading_columns(leading: list[Column], of_model: bool) -> list[RowColumn]:
    """Our ratio, of what the paper's is; nothing in the column of parameters."""

    def ratio(row: Row) -> Cell:
        if of_model:
            return row.ratio_cell("model_ratio", spread=True)
        return row.ratio_cell("achieved_ratio")

    empty = [RowColumn(column, lambda row: Cell("")) for column in leading[:-1]]
    return [*empty, RowColumn(leading[-1], ratio)]


def _measure_column(column: Column, measure: Measure, labels: Labels, notes: Notes) -> RowColumn:
    """Our scores in one column."""
    if measure.task is None:
        return RowColumn(column, lambda row: Cell(MISSING, missing=True))
    score = task_columns(labels, measure.task, (), notes)[0]
    return replace(score, column=column)


def _own(section: Section) -> Section:
    """A section of ours under a title that says so; a single row is not the best of anything."""
    rows = section.rows
    if len(rows) == 1:
        rows = [[replace(cell, bold=False) for cell in rows[0]]]
    title = section.title
    return replace(
        section, title=f"Ours, {title[0].lower()}{title[1:]}" if title else "Ours", rows=rows
    )


def _differences(cells: list[Published], scores: DataFrame, labels: Labels) -> list[str]:
    """Model, data and protocol of the paper, and ours beside each."""
    protocols = scores.groupby("task")["protocol"].first()

    def ours(values: dict[str, str]) -> str:
        tasks_by_value: dict[str, list[str]] = {}
        for task, value in values.items():
            tasks_by_value.setdefault(value, []).append(labels.tasks[task].label)
        return "; ".join(f"{value} ({', '.join(ts)})" for value, ts in tasks_by_value.items())

    def protocol(name: str) -> str:
        return PROTOCOLS.get(name, name)

    # The names of the data sets of several tables would fill the page.
    several = len({c.table for c in cells}) > 1
    data = _join(c.suite if several else c.dataset for c in cells)
    models = {task: about.model or about.checkpoint or task for task, about in labels.tasks.items()}
    own_protocols = {task: protocol(str(protocols.get(task, ""))) for task in labels.tasks}
    of = "model" if any(c.ratio_of == "model" for c in cells) else "embedding"
    return [
        f"What differs. Model: {_join(c.base for c in cells)} in the paper, here {ours(models)}.",
        f"Data: {data} in the paper, here {_join(t.label for t in labels.tasks.values())}.",
        f"Protocol: {_join(protocol(c.protocol) for c in cells if c.protocol)} in the paper, "
        f"here {ours(own_protocols)}.",
        f"Ratios: of the {of}. The paper's are as published; ours count all stored bits.",
    ]


def _join(values: Iterable[str]) -> str:
    """Each value once, in order."""
    return "; ".join(dict.fromkeys(values))


def _sources(cells: list[Published]) -> list[str]:
    """Where the numbers come from, and remarks on them."""
    evidence = _join(f"{c.evidence} ({c.source})" for c in cells)
    return [f"Published numbers: {evidence}.", *dict.fromkeys(c.note for c in cells if c.note)]
