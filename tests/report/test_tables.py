"""LaTeX and text tables of a made-up study."""

import re
import shutil
import subprocess
from dataclasses import replace

import pandas
import pytest

from embpress.analysis.predictors import correlate_metrics
from embpress.errors import UserError
from embpress.report import tables
from embpress.report.tables import latex_document, to_latex, to_text
from embpress.report.tables.latex import escape
from embpress.report.tables.rows import compared_rows
from embpress.report.tables.table import Notes, number

from ..fake_study import fake_scores


def main_table(scores, labels):
    return to_latex(tables.main_table(scores, labels))


def task_table(scores, labels, task):
    return to_latex(tables.task_table(scores, labels, task))


def text_table(scores, labels, width):
    return to_text(tables.main_table(scores, labels), width)


def block(table, ratio):
    """Cells by method label of one block of a LaTeX table."""
    part = (
        table.split(rf"Target ratio {ratio}$\times$")[1]
        .split(r"\midrule")[0]
        .split(r"\bottomrule")[0]
    )
    lines = [line.removesuffix(r" \\").split(" & ") for line in part.splitlines() if " & " in line]
    return {cells[0].split(r"\textsuperscript")[0]: cells[1:] for cells in lines}


def set_score(frame, task, method, asked, **values):
    pick = (frame["task"] == task) & (frame["method"] == method) & (frame["target_ratio"] == asked)
    assert pick.any()
    frame.loc[pick, list(values)] = list(values.values())


def test_values_stand_in_their_cells(scores, labels):
    set_score(scores, "rotten", "svd", 10, value=0.7123, retention=91.34)
    set_score(scores, "wikitext", "svd", 10, value=23.46, retention=81.5)
    cells = block(main_table(scores, labels), 10)["SVD"]
    assert cells[4:6] == ["71.2", "91.3"]
    assert cells[8:10] == ["23.5", "81.5"]


def test_blocks_come_in_order_with_uncompressed_on_top_and_controls_below(scores, labels):
    table = main_table(scores.sample(frac=1, random_state=3), labels)
    order = [
        "uncompressed &",
        r"Target ratio 4$\times$",
        "int8 rows",
        "SVD",
        "Kronecker",
        "Target ratio 10",
        "Target ratio 25",
        "Controls",
        "random rows",
    ]
    places = [table.index(word) for word in order]
    assert places == sorted(places)
    assert table == main_table(scores, labels)


def test_best_is_bold_also_where_lower_is_better(scores, labels):
    set_score(scores, "wikitext", "t24", 10, value=10.0, retention=191.3)
    cells = block(main_table(scores, labels), 10)
    assert cells["T24 sparse coding"][8] == r"\bfseries 10.0"
    assert cells["B23 mixture of decoders"][4].startswith(r"\bfseries")
    for column in (2, 3, 4, 5, 8, 9):
        assert sum("bfseries" in row[column] for row in cells.values()) == 1


def test_over_budget_row_is_marked_and_never_bold(scores, labels):
    table = main_table(scores, labels)
    cells = block(table, 4)
    assert float(cells["int8 rows"][5]) > float(
        cells["B23 mixture of decoders"][5].removeprefix(r"\bfseries ")
    )
    assert not any("bfseries" in c for c in cells["int8 rows"])
    assert any("bfseries" in c for c in cells["B23 mixture of decoders"])
    assert cells["int8 rows"][0] == "3.9"
    assert r"int8 rows\textsuperscript{a}" in table
    assert (
        r"\textsuperscript{a}\,Fixed size, target ratio 3.9$\times$; "
        "larger than this target ratio allows" in table
    )


def test_a_ratio_just_below_the_budget_is_not_rounded_up(scores, labels):
    for task in labels.tasks:
        set_score(scores, task, "int8", 3.9, achieved_ratio=3.96)
    assert block(main_table(scores, labels), 4)["int8 rows"][0] == "3.9"


def test_infeasible_is_a_dash_with_the_reason_once(scores, labels):
    table = main_table(scores, labels)
    assert block(table, 10)["int4 rows"][4] == r"{--\textsuperscript{b}}"
    assert table.count("int4 rows reaches at most 7.8 on 30522 x 384: use a lower ratio.") == 1
    assert block(table, 10)["int4 rows"][2] == "{--}"


def test_mean_retention_needs_every_task(scores, labels):
    scores = scores[~((scores["task"] == "bitext") & (scores["method"] == "svd"))]
    table = main_table(scores, labels)
    assert block(table, 10)["SVD"][2] == "{--}"
    assert "Not part of this study." in table


def test_the_mean_is_shown_with_and_without_perplexity(scores, labels):
    for task, retention in zip(labels.tasks, (90, 80, 10, 70)):
        set_score(scores, task, "svd", 10, retention=retention)
    assert list(labels.tasks)[2] == "wikitext"
    table = main_table(scores, labels)
    assert [float(cell) for cell in block(table, 10)["SVD"][2:4]] == [62.5, 80]
    assert "without Wikipedia excerpt" in table
    bounded = {name: task for name, task in labels.tasks.items() if task.percent}
    rest = main_table(scores[scores["task"] != "wikitext"], replace(labels, tasks=bounded))
    assert "without" not in rest


def test_ratios_are_also_bits_a_weight_and_against_bf16(scores, labels):
    set_score(scores, "rotten", "svd", 10, achieved_ratio=10.0)
    text = text_table(scores, labels, 200)
    assert "Target ratio 10×: 3.2 bits a weight, 5× against bf16" in text
    assert "Target ratio 4×: 8 bits a weight, 2× against bf16" in text
    html = tables.to_html(tables.main_table(scores, labels))
    assert "Bits a weight" in html and ">3.20<" in html and ">5.00<" in html


def test_further_metrics_have_their_own_scale_and_direction(scores, labels):
    about = replace(
        labels.tasks["wikitext"],
        metrics={"top1_agreement": "top-1 agreement", "kl_divergence": "KL, nats"},
        unscaled=["kl_divergence"],
        lower_is_better=["kl_divergence"],
    )
    labels = replace(labels, tasks=labels.tasks | {"wikitext": about})
    own = scores[(scores["task"] == "wikitext") & (scores["method"] != "identity")]
    more = [
        own.assign(metric=name, value=value, retention=float("nan"))
        for name, value in (("top1_agreement", 0.9), ("kl_divergence", 0.25))
    ]
    table = task_table(pandas.concat([scores, *more]), labels, "wikitext")
    cells = block(table, 10)["SVD"]
    assert "90.0" in " ".join(cells) and "0.250" in " ".join(cells)


def test_labels_are_escaped_and_reconstructions_marked(scores, labels):
    methods = labels.methods | {"t24": replace(labels.methods["t24"], label="A_b & 50% of #1")}
    table = main_table(scores, replace(labels, methods=methods))
    assert r"A\_b \& 50\% of \#1\textsuperscript{$\dagger$}" in table
    assert r"\textsuperscript{$\dagger$}\,Reconstruction" in table
    assert escape(r"\~^{<}") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\{$<$\}"


def test_footnotes_of_tasks_retention_and_protocols_are_told(scores, labels):
    table = main_table(scores, labels)
    assert "The tied output head uses the same compressed matrix." in table
    assert "for perplexity, where lower is better, uncompressed score / score" in table
    assert r"perplexity\,$\downarrow$" in table and r"accuracy\,$\uparrow$" in table
    assert "zero-shot" in table and r"fine-tuned, then\\compressed" in table


def test_seeds_show_the_standard_deviation(labels):
    scores = fake_scores(seeds=2)
    for seed, value in ((0, 0.70), (1, 0.72)):
        pick = (
            (scores["task"] == "rotten")
            & (scores["method"] == "svd")
            & (scores["target_ratio"] == 10)
        )
        scores.loc[pick & (scores["seed"] == seed), "value"] = value
    table = main_table(scores, labels)
    assert block(table, 10)["SVD"][4] == "71.0(14)"
    assert "table-format=2.1(2)" in table and "Means over 2 seeds" in table


def test_task_table_has_all_metrics_interval_and_errors(scores, labels):
    set_score(
        scores,
        "similarity",
        "svd",
        10,
        mean_retention_low=86.04,
        mean_retention_high=90.0,
        weighted_relative_error=0.1234,
    )
    table = task_table(scores, labels, "similarity")
    assert all(
        word in table
        for word in ("lee50", "simlex999", "wordsim353", "$n{=}1400$", "$n{=}500$", "MiniLM-L6")
    )
    cells = block(table, 10)["SVD"]
    assert len(cells) == 2 + 4 + 2 + 4
    assert cells[7] == r"{$[86.0,\,90.0]$}" and cells[10] == "0.123"


def test_more_tasks_than_fit_show_retention_only(scores, labels):
    more = [scores[scores["task"] == "rotten"].assign(task=name) for name in ("five", "six")]
    tasks = labels.tasks | {name: labels.tasks["rotten"] for name in ("five", "six")}
    table = main_table(pandas.concat([scores, *more]), replace(labels, tasks=tasks))
    assert len(block(table, 10)["SVD"]) == 3 + 6 + 1


def test_text_table_of_many_tasks_stands_in_parts_that_fit(scores, labels):
    more = {f"{name}_{i}": task for i in range(3) for name, task in labels.tasks.items()}
    many = pandas.concat([scores.assign(task=scores["task"] + f"_{i}") for i in range(3)])
    text = text_table(many, replace(labels, tasks=more), 80)
    assert max(map(len, text.splitlines())) <= 80
    heads = [line for line in text.splitlines() if "achieved" in line]
    # The mean comes first and is repeated, like the ratio, in every part.
    assert len(heads) > 1
    assert all(head.split()[:4] == ["Method", "achieved", "mean", "no-ppl"] for head in heads)
    assert [name for head in heads for name in head.split()[4:]] == [name[:10] for name in more]


@pytest.mark.parametrize("width", [80, 120])
def test_text_table_fits_the_terminal(scores, labels, width):
    text = text_table(scores, labels, width)
    assert max(map(len, text.splitlines())) <= width
    assert "Target ratio 10×" in text and "--^" in text and "int8 rows^a" in text
    assert re.search(r"B23 mixture.*\d\*", text)


def test_numbers_and_letters():
    assert [number(v) for v in (12.34, float("nan"), 1234.5, 96432.0, -3.21)] == [
        "12.3",
        "--",
        "1234",
        "9.6e4",
        "-3.2",
    ]
    notes = Notes()
    letters = [notes.mark(f"note {i}") for i in range(28)]
    assert (letters[0], letters[25], letters[26], letters[27], notes.mark("note 0.")) == (
        "a",
        "z",
        "aa",
        "ab",
        "a",
    )


def test_unlabelled_method_is_named(scores, labels):
    with pytest.raises(UserError, match="no label for method.*svd"):
        main_table(
            scores, replace(labels, methods={k: v for k, v in labels.methods.items() if k != "svd"})
        )


@pytest.mark.parametrize("seeds", [1, 3])
def test_tables_compile_and_fit_the_page(labels, tmp_path, seeds):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (texlive-latex-recommended, texlive-science)")
    scores = fake_scores(seeds)
    shown = [main_table(scores, labels), *(task_table(scores, labels, t) for t in labels.tasks)]
    shown.append(to_latex(tables.predictors_table(correlate_metrics(scores, labels), labels)))
    (tmp_path / "t.tex").write_text(latex_document(shown), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, re.findall(r"Overfull.*", done.stdout)


def test_predictors_stand_in_their_cells_with_interval_and_rows(scores, labels):
    predictors = correlate_metrics(scores, labels)
    table = tables.predictors_table(predictors, labels)
    text = to_text(table)
    latex = to_latex(table)
    pooled = predictors.pooled["achieved_ratio"]
    error = predictors.tasks["wikitext"]["relative_error"]
    line = next(line for line in text.splitlines() if line.startswith("Achieved ratio"))
    assert line.split()[2].rstrip("*") == f"{pooled.value:.2f}"
    assert f"[{pooled.low:.2f}, {pooled.high:.2f}]" in line
    assert max(map(len, text.splitlines())) <= 120
    for task in labels.tasks:
        assert sum(task[:12] in line for line in text.splitlines()) == 1
    line = next(line for line in latex.splitlines() if line.startswith("Achieved ratio"))
    # Two columns with tau, then the tasks.
    assert line.split(" & ")[1:3] == [f"{pooled.value:.2f}", f"{pooled.tau:.2f}"]
    assert line.split(" & ")[7] == f"{predictors.tasks['wikitext']['achieved_ratio'].value:.2f}"
    line = next(line for line in latex.splitlines() if line.startswith("Relative error &"))
    assert line.split(" & ")[7] == rf"\bfseries {error.value:.2f}"
    assert rf"\tiny $[{error.low:.2f},\,{error.high:.2f}]$" in latex
    assert latex.count("$n{=}20$") == 4


def test_a_study_without_scores_has_dashes_for_predictors(scores, labels):
    predictors = correlate_metrics(scores[scores["method"] == "identity"], labels)
    table = tables.predictors_table(predictors, labels)
    assert "nan" not in to_text(table) and "nan" not in to_latex(table)


def test_students_stand_under_their_protocol_and_out_of_the_mean(scores, labels):
    others = [task for task in labels.tasks if task != "rotten"]
    before = {
        row.method + str(row.target): row.mean_retention(others)
        for row in compared_rows(scores, labels)
    }
    scores.loc[scores["task"] == "rotten", "protocol"] = "compress_then_distil"
    table = main_table(scores, labels)
    text = text_table(scores, labels, 200)
    assert r"compressed, then\\distilled" in table
    protocols = " ".join(text.split()).split("Protocols: ")[1]
    assert protocols.startswith("compressed, then distilled (Rotten Tomatoes); zero-shot (")
    for shown in (table, text):
        assert (
            "Not in the mean, as their models are trained after compression: Rotten Tomatoes."
            in " ".join(shown.split())
        )
    (line,) = [line for line in text.splitlines() if line.startswith("T24") and " 4." in line]
    assert float(line.split()[4].rstrip("*")) == pytest.approx(before["t244.0"], abs=0.051)
    scores["protocol"] = "compress_then_distil"  # a study of students alone has its mean
    assert "Not in the mean" not in main_table(scores, labels)
