"""The document of all tables and figures.

It compiles, nothing stands over the margin, nothing is undefined or missing.
"""

import re
import shutil

import pytest
from matplotlib.figure import Figure

from embpress.analysis.ablations import compare_variants
from embpress.analysis.predictors import correlate_metrics
from embpress.analysis.published import read_published
from embpress.errors import UserError
from embpress.report.paper import FIGURES, TABLES, document
from embpress.report.plots import retention_of_task
from embpress.report.plots.style import save
from embpress.report.tables import (
    ablations_table,
    main_table,
    paper_tables,
    predictors_table,
    search_table,
    speed_table,
    stored_table,
    task_table,
    to_latex,
    weights_table,
)
from embpress.report.typeset import typeset

from ..conftest import ROOT
from ..fake_study import fake_ablations, fake_labels, fake_scores, fake_search, fake_speed
from ..pipeline.test_sizes import made_up_sizes

LABELS = fake_labels()
RESOURCES = ROOT / "workflow/resources"
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")


def write(folder, seeds):
    """Tables and figures of a made-up study as the rules `tables` and `figures` write them.

    And the document.
    """
    scores = fake_scores(seeds)
    papers = read_published(RESOURCES / "published.csv")
    searched = [f"task{i}" for i in range(8)]
    titles = {task: f"{task}, BERT_base & 100 %" for task in searched}
    variants, labels = fake_ablations()
    tables = {
        **{f"paper_{key}": paper_tables(cells, scores, LABELS) for key, cells in papers.items()},
        **{task: [task_table(scores, LABELS, task)] for task in LABELS.tasks},
        "main": [main_table(scores, LABELS)],
        "predictors": [predictors_table(correlate_metrics(scores, LABELS), LABELS)],
        "sizes": [weights_table(made_up_sizes()), stored_table(made_up_sizes(), scores, LABELS)],
        "speed": [speed_table(fake_speed(), LABELS)],
        "ablations": [ablations_table(compare_variants(variants, labels), labels)],
        "search": [search_table(fake_search(searched), titles)],
    }
    texts = {name: to_latex(*parts) for name, parts in tables.items()}
    texts["claims"] = (
        "\\begin{longtable}{l}\\endhead\n" + "a line \\\\\n" * 100 + "\\end{longtable}\n"
    )
    for name, text in texts.items():
        (folder / "tables").mkdir(exist_ok=True)
        (folder / f"tables/{name}.tex").write_text(text, encoding="utf-8")
    names = [*FIGURES, "retention-rotten"]
    save(retention_of_task(scores, LABELS, "rotten"), folder / "figures/retention-rotten")
    # Every figure that has a caption; what is in them is for the tests of plots.
    for name in FIGURES:
        shutil.copyfile(folder / "figures/retention-rotten.pdf", folder / f"figures/{name}.pdf")
    (folder / "paper").mkdir()
    shutil.copyfile(RESOURCES / "references.bib", folder / "paper/references.bib")
    tables = sorted((folder / "tables").iterdir())
    figures = [folder / f"figures/{name}.pdf" for name in names]
    text = document("de_fault", LABELS, tables, figures, folder / "paper")
    (folder / "paper/paper.tex").write_text(text, encoding="utf-8")
    return folder / "paper/paper.tex"


@needs_tex
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_document_compiles_without_a_problem(tmp_path, seeds):
    source = write(tmp_path, seeds)
    assert typeset(source) == []
    assert source.with_suffix(".pdf").read_bytes()[:4] == b"%PDF"
    bibliography = source.with_suffix(".bbl").read_text()
    assert len(re.findall(r"\\bibitem", bibliography)) == 5
    captions = source.with_suffix(".lot").read_text()
    # A longtable must not take a number of its own.
    numbers = [int(n) for n in re.findall(r"\\numberline \{(\d+)\}", captions)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) == 1 + 4 + 5 + 6


@needs_tex
def test_two_runs_give_the_same_bytes(tmp_path):
    source = write(tmp_path, 1)
    typeset(source)
    first = source.with_suffix(".pdf").read_bytes()
    typeset(source)
    assert source.with_suffix(".pdf").read_bytes() == first


@needs_tex
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (r"\listoftables", r"\hbox to 2\textwidth{wide}", "Overfull \\hbox"),
        (r"\listoftables", r"\cite{nobody}", "Citation `nobody'"),
        (r"\listoftables", r"\ref{table:none}", "Reference `table:none'"),
    ],
)
def test_a_problem_is_found(tmp_path, old, new, problem):
    source = write(tmp_path, 1)
    source.write_text(source.read_text().replace(old, new))
    assert any(problem in found for found in typeset(source))


@needs_tex
def test_a_missing_figure_and_a_wrong_command_stop_it_on_one_sentence(tmp_path):
    source = write(tmp_path, 1)
    (tmp_path / "figures/retention.pdf").unlink()
    with pytest.raises(UserError, match="pdflatex stopped at .*paper.tex.*retention.pdf"):
        typeset(source)
    source.write_text(r"\documentclass{article}\begin{document}\nonsense\end{document}")
    with pytest.raises(UserError, match="Undefined control sequence") as caught:
        typeset(source)
    assert "\n" not in str(caught.value)


@needs_tex
def test_a_document_that_cites_nothing_needs_no_bibliography(tmp_path):
    save(Figure(), tmp_path / "figures/retention")
    (tmp_path / "paper").mkdir()
    text = document("s", LABELS, [], [tmp_path / "figures/retention.pdf"], tmp_path / "paper")
    (tmp_path / "paper/paper.tex").write_text(text)
    assert typeset(tmp_path / "paper/paper.tex") == []


def test_without_pdflatex_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        UserError,
        match="pdflatex is not installed: install texlive-latex-base, .* and texlive-science",
    ):
        typeset(tmp_path / "paper.tex")


def test_everything_has_a_caption_and_a_label_in_order(tmp_path):
    text = write(tmp_path, 1).read_text()
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert labels[0] == "table:main" and labels[-1] == "figure:retention-rotten"
    assert labels[1:5] == [f"table:{task}" for task in sorted(LABELS.tasks)]
    assert all(label.startswith("table:paper_") for label in labels[5:10])
    assert labels[16:-1] == [f"figure:{name}" for name in FIGURES]
    assert text.count(r"\caption[") == len(labels) == len(set(labels))
    for key in read_published(RESOURCES / "published.csv"):
        assert text.count(rf"\cite{{{key}}}") == 2
    assert r"study de\_fault" in text and r"T24 sparse coding \cite{tamura2024frequency}" in text


def test_captions_are_those_of_snakemakes_own_report():
    for name, caption in FIGURES.items():
        assert (ROOT / f"workflow/report/{name}.rst").read_text(encoding="utf-8") == caption + "\n"
    assert {"main", "predictors", "sizes", "claims", "speed", "ablations"} <= TABLES.keys()
