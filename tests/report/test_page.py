"""The HTML report, as a browser shows it.

No error, no broken picture, nothing asked of a network, no sideways scrolling.
"""

import dataclasses
import html.parser
import json
import re

import pandas
import pytest
import yaml

from embpress.analysis import scores
from embpress.report.html import ReportInputs, render_report
from embpress.report.plots import pareto, retention_of_task
from embpress.report.plots.style import save

from ..browser import PROGRAM, Page
from ..conftest import ROOT
from ..fake_study import fake_ablations, fake_search, fake_sizes, fake_speed

VOID = {"meta", "img", "link", "br"}
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a made-up study with awkward names."""
    folder = tmp_path_factory.mktemp("report")
    table, labels = fake_ablations()
    tasks = labels.tasks | {
        "rotten": dataclasses.replace(labels.tasks["rotten"], label="<b>Tomatoes</b> & 日本語")
    }
    svd = dataclasses.replace(
        labels.methods["svd"], label="SVD, whole model", compresses_layers=True
    )
    labels = dataclasses.replace(labels, tasks=tasks, methods=labels.methods | {"svd_model": svd})
    whole = table[
        (table["method"] == "svd") & (table["task"] == "similarity") & (table["target_ratio"] != 25)
    ]
    table = pandas.concat([table, whole.assign(method="svd_model")], ignore_index=True)
    scores.write_scores(table, folder / "scores.csv")
    mean = table[(table["task"] == "rotten") & (table["metric"] == "accuracy")].assign(
        task="both", metric="average"
    )
    scores.write_scores(
        pandas.concat([mean, *(mean.assign(metric=t) for t in ("rotten", "similarity"))]),
        folder / "averages.csv",
    )
    sizes = dict(
        matrices=1,
        dense_parameters=10**7,
        floats=10**6,
        bits=32 * 10**6,
        dense_flops=10**9,
        flops=10**8,
    )
    sizes |= dict(model="MiniLM-L6", method="svd_model", seed=0, relative_error=0.5)
    kinds = [
        sizes | dict(target_ratio=r, kind=kind)
        for r in (4.0, 10.0)
        for kind in ("query", "not compressed")
    ]
    pandas.DataFrame(kinds).to_csv(folder / "modules.csv", index=False)
    (folder / "labels.json").write_text(json.dumps(dataclasses.asdict(labels)))
    fake_search().to_csv(folder / "search.csv", index=False)
    parts = fake_sizes().assign(
        part="embedding matrix", dtype="F32", why="what the methods replace"
    )
    parts.assign(target_ratio="", seed=0, rows_kept="", rows=30522).to_csv(
        folder / "sizes.csv", index=False
    )
    fake_speed().to_csv(folder / "speed.csv", index=False)
    claim = {"paper": "B23", "text": "<script>alert(1)</script>", "evidence": "inferred"}
    comparison = {"better": "b23", "worse": "svd", "on": "rotten", "by": "accuracy"}
    claims = {"one": claim | {"comparisons": [comparison]}}
    numbers = ("ratio", "better_value", "worse_value", "difference", "low", "high")
    about = dict.fromkeys((*numbers, "better_achieved_ratio", "worse_achieved_ratio", "seeds"), 1.0)
    row = {
        "claim": "one",
        "better": "b23",
        "worse": "svd",
        "task": "rotten",
        "metric": "accuracy",
        "verdict": "holds",
        "note": "",
    }
    pandas.DataFrame([about | row]).to_csv(folder / "claims.csv", index=False)
    study = yaml.safe_load((ROOT / "studies/smoke.yaml").read_text())
    average = {"label": "Both & all", "tasks": ["rotten", "similarity"]}
    study |= {"claims": claims, "averages": {"both": average}}
    jobs = [
        {
            "rule": "model",
            "wildcards": {"model": "m"},
            "threads": 1,
            "seconds": s,
            "cpu_seconds": s - 1,
            "startup_cpu_seconds": 1.5,
            "peak_mb": 300,
        }
        for s in (3.5, 200)
    ]
    provenance = {
        "embpress": "0",
        "libraries": {"torch": "2"},
        "machine": {"cores": 2},
        "files": {"a.csv": 64 * "a"},
    }
    packages = {"gensim": {"version": "4", "sha256": 64 * "0"}}
    provenance |= {
        "packages": packages,
        "study": study,
        "jobs": jobs,
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    save(pareto(table, fake_sizes(), labels), folder / "pareto")
    save(retention_of_task(table, labels, "rotten"), folder / "retention-rotten")
    names = {
        n: folder / f"{n}.csv"
        for n in ("scores", "sizes", "speed", "claims", "averages", "modules", "search")
    }
    names |= {
        "labels": folder / "labels.json",
        "provenance": folder / "provenance.json",
    }
    names["published"] = ROOT / "workflow/resources/published.csv"
    render_report(
        ReportInputs(**names, figures=[folder / "pareto.png", folder / "retention-rotten.png"]),
        folder / "report.html",
    )
    return folder / "report.html"


class Balanced(html.parser.HTMLParser):
    """Fails where a tag is closed that is not open; collects what would be asked of elsewhere."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.links = []

    def handle_starttag(self, tag, attributes):
        self.links += [
            v for k, v in attributes if k in ("src", "href") and not v.startswith(("data:", "#"))
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_escaped_and_asks_for_nothing(page):
    text = page.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text)
    assert parser.open == [] and parser.links == []
    assert "<script>alert" not in text and "&lt;b&gt;Tomatoes&lt;/b&gt; &amp; 日本語" in text
    for anchor in (
        "summary",
        "scores",
        "size-and-speed",
        "errors-of-the-matrix",
        "ablations",
        "claims",
        "provenance",
    ):
        assert f'id="{anchor}"' in text and f'href="#{anchor}"' in text
    assert 64 * "a" in text and "study: smoke" in text


def test_a_search_shows_every_candidate_and_the_choice(page):
    text = page.read_text(encoding="utf-8")
    (table,) = re.findall(r'<table id="table-search"(.*?)</table>', text, re.DOTALL)
    assert table.count("learning rate") == 6 and table.count(">chosen<") == 1
    before, after = table.split(">chosen<")
    assert (
        "86.00" in before.split("epochs 3, learning rate 2e-05<")[1]
        and "epochs 4, learning rate 5e-05<" in after
    )


def test_averages_and_whole_models_have_tables_and_whole_models_are_not_among_embeddings(page):
    text = page.read_text(encoding="utf-8")
    tables = dict(re.findall(r'<table id="table-(\w+)"(.*?)</table>', text, re.DOTALL))
    assert (
        "SVD, whole model" not in tables["main"]
        and tables["scores"].count("SVD, whole model<sup>‡</sup>") > 2
    )
    assert "SVD, whole model" not in text[text.index('id="summary"') : text.index('id="scores"')]
    # One row a method and ratio, none for the tasks in an average.
    assert "Average over tasks: Both &amp; all" in text
    assert tables["average_both"].count("<tr>") == tables["main"].count("<tr>")
    lines = [line for line in tables["whole_model"].splitlines() if "SVD, whole model" in line]
    # 2 million parameters
    assert len(lines) == 2 and '<td class="n" data-v="2">2.00</td>' in lines[0]
    assert "uncompressed" in tables["whole_model"]


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_a_browser_shows_it_without_an_error(page, tmp_path, width, dark):
    with Page(tmp_path / "profile", page, width, dark=dark) as opened:
        opened.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true })")
        assert opened.errors() == []
        pictures = opened.evaluate(
            "[...document.images].map((i) => [i.complete, i.naturalWidth, i.alt.length > 9])"
        )
        assert len(pictures) == 2 and all(done and wide and said for done, wide, said in pictures)
        if width > 1000:
            # What matters most fits without scrolling.
            for name in ("main", "whole_model", "average_both", "predictors"):
                box = f"document.querySelector('#table-{name}').closest('.scroll')"
                assert opened.evaluate(f"{box}.scrollWidth <= {box}.clientWidth"), name
        # What is wide scrolls in its own box.
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(
            "[...document.querySelectorAll('table')].every((t) => t.closest('.scroll'))"
        )
        ink, paper = opened.evaluate(
            "['color', 'backgroundColor'].map((k) => getComputedStyle(document.documentElement)[k])"
        )
        dark_ink, dark_paper = (sum(map(int, c[4:-1].split(", "))) > 384 for c in (ink, paper))
        assert (dark_ink, dark_paper) == (dark, not dark)
        opened.screenshot(tmp_path / "page.png", whole=False)
        assert (tmp_path / "page.png").stat().st_size > 10_000


@needs_browser
def test_a_click_sorts_by_number_and_back_and_words_by_the_alphabet(page, tmp_path):
    column = (
        "[...document.querySelectorAll('#table-main tbody tr')].map((r) => r.cells[%d].textContent)"
    )
    click = "document.querySelectorAll('#table-main th button')[%d].click()"
    with Page(tmp_path / "profile", page, 1280) as opened:
        opened.evaluate(click % 3)
        once = [float(v) for v in opened.evaluate(column % 3) if v != "–"]
        assert once == sorted(once, reverse=True) and len(once) > 10
        assert opened.evaluate(column % 3)[-1] == "–"
        opened.evaluate(click % 3)
        assert [float(v) for v in opened.evaluate(column % 3) if v != "–"] == once[::-1]
        assert opened.evaluate(column % 3)[-1] == "–"
        opened.evaluate(click % 1)
        words = opened.evaluate(column % 1)
        assert words == sorted(words, key=str.lower)
        assert opened.evaluate("document.querySelectorAll('#table-main [aria-sort]').length") == 1
        assert opened.errors() == []
