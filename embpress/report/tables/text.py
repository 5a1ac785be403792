"""Scores as plain text, for the terminal."""

import textwrap

from pandas import DataFrame

from ...analysis.scores import Labels
from .rows import (
    Column,
    Notes,
    Row,
    average_note,
    averaged,
    blocks_of,
    bold,
    comparison,
    fixed_size,
    general_notes,
    number,
    protocol_notes,
    score_columns,
)


def text_table(scores: DataFrame, labels: Labels, width: int = 120) -> str:
    """The main table as plain text, retention with its score where `width` allows, else retention
    alone.

    Where even that is too wide, tables of fewer tasks stand below each other. The mean over tasks
    is left out where there is one task.
    """
    notes = Notes()
    tasks = list(labels.tasks)
    rows = comparison(scores, labels)
    layouts = [(True, 1), *((False, parts) for parts in range(1, len(tasks) + 1))]
    for both, parts in layouts:
        step = -(-len(tasks) // parts)
        chosen = [tasks[i : i + step] for i in range(0, len(tasks), step)]
        alike = averaged(scores, tasks)
        lines = [
            line
            for part in chosen
            for line in [
                *_text_lines(rows, labels, part, alike if part is chosen[-1] else [], notes, both),
                "",
            ]
        ]
        if max(map(len, lines)) <= width:
            break
    general = [
        "Best within a budget: *. Reconstructions, as the paper's full text was not available: +."
    ]
    general += protocol_notes(scores, tasks) + average_note(scores, labels, tasks)
    general += general_notes(scores, labels, tasks) + [
        f"^{notes.mark(s)} {s}" for s in notes.sentences
    ]
    return "\n".join(lines + [w for g in general for w in textwrap.wrap(g, width)]) + "\n"


def _text_lines(
    rows: list[Row], labels: Labels, tasks: list[str], alike: list[str], notes: Notes, both: bool
) -> list[str]:
    """Header and rows of the text table of some tasks, padded, with the mean over those `alike`.

    The best carry a star.
    """
    columns = [c for t in tasks for c in score_columns(labels, t, notes, both)]
    several = len(alike) > 1
    if several:
        columns.append(Column(lambda r: number(r.retention(alike)), lambda r: r.retention(alike)))
    names = [n for t in tasks for n in ([t, "ret."] if both else [t])]
    table = [["", "reached", *(n[:10] for n in names), *(["mean"] if several else [])]]
    titles = {}
    for title, block in blocks_of(rows):
        titles[len(table)] = title
        strong = [bold(block, c) for c in columns]
        for i, row in enumerate(block):
            cells = [c.text(row) + ("*" if i in s else " ") for c, s in zip(columns, strong)]
            method = labels.methods[row.method]
            sentence = fixed_size(row, labels)
            label = (
                method.label[:24]
                + "+" * method.reconstruction
                + (f"^{notes.mark(sentence)}" if sentence else "")
            )
            table.append([label, row.ratio("achieved_ratio"), *cells])
    widths = [max(len(r[i]) for r in table) for i in range(len(table[0]))]
    lines = []
    for i, texts in enumerate(table):
        lines += [titles[i]] if titles.get(i) else []
        lines.append(
            " ".join(
                t.ljust(w) if j == 0 else t.rjust(w) for j, (t, w) in enumerate(zip(texts, widths))
            ).rstrip()
        )
    return lines
