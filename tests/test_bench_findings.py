"""Findings follow from kept runs: pages, figures, sentences, and how a run is kept."""

import json
import lzma
import re
import shutil
import sys
from pathlib import Path

import pandas
import pytest

from bench import codes
from bench.findings import keep as keeping
from bench.findings.kept_run import KeptRun, NotKept
from bench.findings.pages import FIGURES, Findings, digest_of, wrap
from bench.findings.statements import Statements, WrongStatement
from embpress.analysis.scores import read_scores, write_scores
from embpress.errors import UserError
from embpress.files import write_json
from embpress.pipeline.aggregation import labels

from .fake_study import fake_scores
from .pipeline.entries import classification, write_evaluations
from .studies import make_study

ROOT = Path(__file__).parents[1]
FINDINGS = ROOT / "docs/findings"


@pytest.fixture(scope="module")
def findings():
    return Findings(ROOT)


@pytest.fixture(scope="module")
def pages(findings):
    return dict(findings.pages())


def test_pages_are_what_the_kept_runs_give(pages):
    assert ROOT / "README.md" in pages and FINDINGS / "default-study.md" in pages
    for path, text in pages.items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make findings`"


def test_figures_show_the_tables_of_the_kept_runs(findings):
    assert list(findings.figures())
    assert findings.stale_figures() == [], "run `make findings`"


def test_other_pages_say_of_which_commit_and_date_they_are(pages):
    written = {path.name for path in pages}
    for page in FINDINGS.glob("*.md"):
        if page.name not in written:
            text = page.read_text(encoding="utf-8")
            assert re.search(r"commits? `[0-9a-f]{7,40}`", text), page.name
            assert re.search(r"20\d\d-\d\d-\d\d", text), page.name


def test_every_kept_run_names_commit_date_and_command():
    runs = list((FINDINGS / "runs").iterdir())
    assert runs
    for run in runs:
        about = KeptRun(run).about
        assert re.fullmatch("[0-9a-f]{40}", about["commit"]), run.name
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", about["date"])
        assert re.match("(snakemake|make) ", about["command"]) and about["core_seconds"] > 0
        assert about["study"] == run.name == KeptRun(run).config["study"]


@pytest.fixture
def small(tmp_path):
    """A kept run of three methods: a and b are equal, c is worse."""
    folder = tmp_path / "small"
    folder.mkdir()
    method = {"kind": "paper"}
    labels = {
        "methods": {
            "identity": {"label": "uncompressed", "kind": "control"},
            **{name: method | {"label": name.upper()} for name in "abc"},
        },
        "tasks": {},
        "ratios": [10],
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "run.json").write_text("{}")
    rows = [
        ("a", "b", 0.5, -1.0, 2.0),
        ("a", "c", 9.0, 6.0, 12.0),
        ("b", "c", 8.5, 5.0, 11.0),
        ("a", "identity", -1.0, -2.0, 0.0),
        ("b", "identity", -1.5, -3.0, 0.0),
        ("c", "identity", -10.0, -13.0, -7.0),
    ]
    frame = pandas.DataFrame(rows, columns=["first", "second", "difference", "low", "high"])
    frame = frame.assign(task="mean", ratio=10.0)
    frame.to_csv(folder / "differences.csv.xz", index=False)
    return Statements(KeptRun(folder))


def test_a_sentence_calls_a_method_better_only_where_the_interval_excludes_0(small):
    assert small.better("a", "c", 10) == "9.0 points, [6.0, 12.0]"
    with pytest.raises(WrongStatement, match="small.*a is not better than b.*template"):
        small.better("a", "b", 10)
    with pytest.raises(WrongStatement, match="c is not better than a"):
        small.better("c", "a", 10)


def test_a_comparison_says_what_the_interval_shows(small):
    assert "A is 9.0 points better than C, [6.0, 12.0]" in small.compare("a", "c", 10)
    assert "C is 9.0 points worse than A, [6.0, 12.0]" in small.compare("c", "a", 10)
    assert "A and B cannot be told apart" in small.compare("a", "b", 10)


def test_losses_are_the_tasks_on_which_another_method_is_better():
    run = KeptRun(FINDINGS / "runs/unseen")
    rows = pandas.read_csv(FINDINGS / "runs/unseen/differences.csv.xz")
    rows = rows[(rows["ratio"] == 40) & rows["task"].isin(run.tasks)]
    worse = rows[(rows["first"] == "svd") & (rows["second"] == "ectcq") & (rows["high"] < 0)]
    better = rows[(rows["first"] == "ectcq") & (rows["second"] == "svd") & (rows["low"] > 0)]
    lost = {*worse["task"], *better["task"]}
    said = Statements(run).losses("svd", ["ectcq", "no_method"], 40)
    assert lost and {t for t in run.tasks if run.labels.tasks[t].label in said} == lost
    assert Statements(run).losses("ectcq", ["svd"], 40) == "none"


def test_a_ranking_says_which_neighbours_cannot_be_told_apart(small):
    assert small.ranking(10) == "A ≈ B > C"
    assert small.ranking(10, among=["b", "c"]) == "B > C"
    assert "B cannot be told apart from A" in small.leaders(10)


def test_what_is_not_in_a_run_is_refused(small, tmp_path):
    with pytest.raises(NotKept, match="25x"):
        small.value("a", 25)
    with pytest.raises(NotKept, match="missing"):
        KeptRun(tmp_path / "missing")


def test_a_page_that_was_edited_or_whose_run_changed_is_stale(tmp_path):
    for name in ("docs/findings", "docs/figures"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("README.md", "docs/README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    page = tmp_path / "docs/findings/default-study.md"
    number = re.search(r"\d\d\.\d", page.read_text(encoding="utf-8"))
    page.write_text(page.read_text(encoding="utf-8").replace(number[0], "12.3"), encoding="utf-8")
    assert Findings(tmp_path).stale_pages() == [page]
    scores = tmp_path / "docs/findings/runs/default/scores.csv.xz"
    text = lzma.decompress(scores.read_bytes()).decode()
    scores.write_bytes(lzma.compress(text.replace("0.5", "0.6").encode()))
    copy = Findings(tmp_path)
    of_default = {name for name, (study, _) in FIGURES.items() if study == "default"}
    assert {path.name for path in copy.stale_figures()} == of_default


def test_long_lines_are_wrapped_but_not_tables_and_code():
    table = "| " + "a" * 200 + " |"
    code = "```text\n" + "b " * 100 + "\n```"
    text = wrap(f"# Title\n\n{'word ' * 40}\n- {'item ' * 40}\n\n{table}\n{code}\n")
    lines = text.splitlines()
    assert table in lines and ("b " * 100).rstrip() in lines
    assert max(len(line) for line in lines if line.startswith(("word", "-", "  item"))) <= 132
    assert any(line.startswith("  item") for line in lines)


def test_a_run_that_has_not_finished_or_has_no_commit_is_not_kept(tmp_path):
    with pytest.raises(UserError, match="finish"):
        keeping.keep(tmp_path, tmp_path / "runs")
    provenance = {"study": {"study": "s"}, "machine": {"cores": 2}, "commit": None}
    (tmp_path / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(UserError, match="--commit"):
        keeping.keep(tmp_path, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_finished_study_is_kept(tmp_path, monkeypatch, capsys):
    results = tmp_path / "results"
    study = make_study(
        ratios=[10],
        methods={"identity": {}, "random": {}, "svd": {}, "b21": {}},
        tasks={"rotten": classification(), "cola": classification()},
    )
    wrong = {"identity": 0.05, "random": 0.5, "svd": 0.3, "b21": 0.1}
    write_evaluations(study, wrong, results)
    write_scores(fake_scores(), results / "scores.csv")
    write_json(results / "labels.json", labels(study))
    (results / "averages.csv").write_text("of an earlier study in the same folder\n")
    provenance = {
        "embpress": "0",
        "commit": "c" * 40,
        "libraries": {"torch": "2"},
        "machine": {"cores": 2},
        "study": study.to_json(),
        "core_seconds": {"all": {"total": 7.4}},
    }
    write_json(results / "provenance.json", provenance)
    arguments = ["keep", str(results), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", arguments)
    keeping.main()
    folder = tmp_path / "runs" / study.name
    assert str(folder) in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert "scores.csv.xz" in before and "averages.csv.xz" not in before
    keeping.main()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    run = KeptRun(folder)
    assert run.about["commit"] == "c" * 40 and run.about["core_seconds"] == 7
    pandas.testing.assert_frame_equal(run.scores, read_scores(results / "scores.csv"))
    statements = Statements(run)
    assert "points, [" in statements.better("b21", "svd", 10)
    assert statements.ranking(10) == "B21 direction AE > SVD"
    table = statements.means_table([10])
    assert table.splitlines()[0] == "| method | 10x |" and "*random rows* (control)" in table


def test_whole_models_stand_at_the_ratio_of_the_model(findings):
    run = findings.run("default")
    head, _, *rows = Statements(run).whole_models_table().splitlines()
    scores = run.scores[run.scores["method"].map(lambda m: run.labels.methods[m].compresses_layers)]
    shown = {(run.label(r.method), f"{r.model_ratio:.1f}x") for r in scores.itertuples()}
    assert {tuple(row.split(" | ")[:2]) for row in rows} == {(f"| {m}", r) for m, r in shown}
    tasks = {run.labels.tasks[task].label for task in scores["task"]}
    assert set(head.strip("| ").split(" | ")) - tasks <= {"method", "ratio", "mean"}


def test_averages_of_whole_models_have_a_row_for_each_label_and_ratio(findings):
    run = findings.run("whole_model")
    head, _, *rows = Statements(run).averages_table().splitlines()
    assert all(entry["label"] in head for entry in run.config["averages"].values())
    cells = [tuple(row.strip("| ").split(" | ")) for row in rows]
    assert len({row[:2] for row in cells}) == len(cells)
    name = next(iter(run.config["averages"]))
    own = run.averages.set_index(["task", "method", "target_ratio"]).loc[name, "ectcq_model", 32]
    (found,) = [row for row in cells if row[:2] == (run.label("ectcq_model"), "32x")]
    assert found[2] == (
        f"{own.retention:.1f} [{own.mean_retention_low:.1f}, {own.mean_retention_high:.1f}]"
    )


def test_a_figure_carries_no_digest_unless_it_was_written_from_a_run(tmp_path):
    assert digest_of(tmp_path / "missing.png") == ""


def test_the_page_of_codes_is_that_of_its_table():
    lines = codes.read_lines(FINDINGS / "codes.csv")
    page = (FINDINGS / "codes.md").read_text(encoding="utf-8")
    assert page == "\n".join([*codes.markdown(lines), ""])
