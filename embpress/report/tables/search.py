"""How the candidates for fine-tuning's settings scored, and which was chosen: LaTeX and text."""

import textwrap
from typing import Any

from pandas import DataFrame

from .latex import cell, escape, s_column
from .rows import number

WHAT = (
    "Each candidate trained on the training examples less those held out, on which it was scored: once, with the study's "
    "first seed. The best, of equal ones the first, then trained on all of them, with every seed. No test example was read."
)


def search_table(found: DataFrame, titles: dict[str, str]) -> str:
    """LaTeX, a longtable: a block a task, a line a candidate in the order of the grid.

    Args:
        found: from `embpress.training.search.rows`.
        titles: of each task.
    """
    spec = f"@{{}}l{s_column(map(_score, found.itertuples()))}@{{}}"
    lines = [rf"\begin{{longtable}}{{{spec}}}", r"\toprule", r"Settings & {Score} \\", r"\endhead"]
    lines += [r"\bottomrule", r"\endfoot"]
    for title, rows in _blocks(found, titles):
        lines += [r"\midrule", rf"\multicolumn{{2}}{{@{{}}l}}{{\itshape {escape(title)}}} \\*"]
        for row in rows:
            settings = escape(settings_of(row))
            settings = rf"\textbf{{{settings}}}" if row.chosen else settings
            lines.append(rf"{settings} & {cell(_score(row), row.chosen)} \\")
    body = "\n".join([*lines, r"\end{longtable}"])
    return (
        f"\\begingroup\\scriptsize%\n{body}\n\\endgroup\n\\par\\smallskip\n"
        f"{{\\scriptsize\\raggedright\n{escape(WHAT)} Bold: the chosen.\n\\par}}\n"
    )


def search_text(found: DataFrame, titles: dict[str, str]) -> str:
    """The same as plain text; the chosen carry a star."""
    width = max(len(settings_of(row)) for row in found.itertuples())
    lines = []
    for title, rows in _blocks(found, titles):
        lines += [
            title,
            *(f"  {settings_of(row):{width}}  {_score(row):>5}{'*' * row.chosen}" for row in rows),
            "",
        ]
    return "\n".join(lines + textwrap.wrap(f"{WHAT} Chosen: *.", 120)) + "\n"


def _blocks(found: DataFrame, titles: dict[str, str]) -> list[tuple[str, list[Any]]]:
    """Title and rows of each task."""
    blocks = []
    for task, title in titles.items():
        rows = list(found[found["task"] == task].itertuples())
        first = rows[0]
        metric = first.metric.replace("_", " ")
        blocks.append(
            (
                f"{title}: {metric} on {first.held_out} of {first.held_out + first.trained_on} examples",
                rows,
            )
        )
    return blocks


def settings_of(row: Any) -> str:
    """A candidate's name as words."""
    return row.candidate.replace("_", " ").replace("+", ", ")


def _score(row: Any) -> str:
    """Times 100, as all metrics of tasks that are trained for are shown."""
    return number(100 * row.score, 2)
