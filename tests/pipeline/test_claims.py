"""Verdicts on claims about synthetic outcomes with a known truth."""

import re
import shutil
import subprocess

import numpy as np
import pandas
import pytest

from embpress.analysis.scores import SCORE_COLUMNS, Labels
from embpress.analysis.verdicts import MetricPair, shown_claims, summarize_claim, to_csv, verdict
from embpress.errors import UserError
from embpress.pipeline.aggregation import Evaluation
from embpress.pipeline.claims import judge
from embpress.pipeline.evaluation import write_outcomes
from embpress.report.tables import claims_table, latex_document, to_latex, to_text
from embpress.study.claim_entry import ClaimEntry
from embpress.study.metric_names import ERRORS
from embpress.tasks._bootstrap import RESAMPLES, difference
from embpress.tasks.classification import Classification
from embpress.tasks.language_modelling import LanguageModelling

from ..studies import make_study
from .entries import classification, language_modelling

N = 400
NOTE = "Kronecker reaches at most 24 on 100 x 8: ask for less"
QUALITY = {"identity": 0.0, "good": 0.02, "twin": 0.02, "bad": 0.2, "mean": 0.4, "never": 0.3}
"""Error rates on test examples; `twin` gets the same examples wrong as `good`."""


def claim(*comparisons, **more):
    return {
        "paper": "B21",
        "text": "Good beats bad.",
        "evidence": "abstract",
        "comparisons": list(comparisons),
    } | more


def compare(better, worse, by="accuracy", on="rotten", **more):
    return {"better": better, "worse": worse, "on": on, "by": by} | more


@pytest.fixture
def config():
    """Sections of a study of two tasks."""
    methods = {
        name: {}
        if name in ("identity", "random", "mean")
        else {"method": "svd", "label": f"A {name}"}
        for name in QUALITY
    }
    tasks = {"rotten": classification(), "wikitext": language_modelling()}
    return {"seeds": [0, 1], "ratios": [4, 10], "methods": methods, "tasks": tasks}


@pytest.fixture
def labels(config):
    methods = {name: {"label": f"A_{name}", "kind": "baseline"} for name in QUALITY}
    task = {"metric": "accuracy", "metric_label": "accuracy", "label": "Rotten & co"}
    other = {
        "metric": "perplexity",
        "metric_label": "perplexity",
        "label": "Wikipedia",
        "higher_is_better": False,
    }
    return Labels.from_json(
        {"methods": methods, "tasks": {"rotten": task, "wikitext": other}, "ratios": [4, 10]}
    )


def answers(right):
    """Outcomes of a classifier that is right where `right` is true."""
    return {"predicted": right.astype(np.int16), "label": np.ones(len(right), dtype=np.int16)}


def outcomes_of(task, variant, seed):
    """Outcomes of test examples with the error rate of the variant."""
    random = np.random.default_rng(
        [seed, sorted(QUALITY).index("good" if variant == "twin" else variant)]
    )
    wrong = random.random(N) < QUALITY[variant]
    if task == "rotten":
        return answers(~wrong)
    return {"nll": (2 + np.repeat(wrong[:, None], 15, 1)).astype(np.float32)}


@pytest.fixture
def found(config, tmp_path):
    """Evaluations on disk, and the table of scores that belongs to them."""
    study = make_study(**config)
    evaluations = []
    rows = []
    for task, entry in study.tasks.items():
        for variant in study.variants:
            for seed in study.seeds:
                ratios = study.variants[variant].ratios
                path = tmp_path / task / str(seed) / f"{variant}.safetensors"
                here = (
                    {}
                    if variant == "never"
                    else {f"{r:g}": outcomes_of(task, variant, seed) for r in ratios}
                )
                write_outcomes(here, path)
                evaluations.append(Evaluation(task, variant, seed, path, [], tmp_path, tmp_path))
                for ratio in ratios:
                    row = dict(
                        study="s",
                        model="m",
                        task=task,
                        protocol=entry.protocol,
                        method=variant,
                        seed=seed,
                    )
                    row["target_ratio"] = None if study.variants[variant].is_control else ratio
                    row["metric"], row["note"] = (
                        entry.reported_metrics[0],
                        NOTE if variant == "never" else "",
                    )
                    if variant != "never":
                        row |= dict(
                            achieved_ratio=ratio,
                            mean_cosine=1 - QUALITY[variant],
                            relative_error=QUALITY[variant],
                        )
                    rows.append(row)
    return {"evaluations": evaluations, "scores": pandas.DataFrame(rows, columns=SCORE_COLUMNS)}


def judge_comparisons(config, found, *comparisons):
    return judge(make_study(**config, claims={"c": claim(*comparisons)}), **found)


def verdicts(config, found, *comparisons):
    return judge_comparisons(config, found, *comparisons)["verdict"].tolist()


@pytest.mark.parametrize(("on", "by"), [("rotten", "accuracy"), ("wikitext", "perplexity")])
def test_the_truth_is_found_whichever_way_the_metric_points(config, found, on, by):
    assert verdicts(config, found, compare("good", "bad", by, on)) == ["holds"] * 2
    assert verdicts(config, found, compare("bad", "good", by, on, ratios=[10])) == ["does not hold"]


def test_equal_outcomes_and_equal_errors_are_undecided(config, found):
    asked = [
        compare("good", "twin", by, ratios=[4])
        for by in ("accuracy", "mean_cosine", "relative_error")
    ]
    assert verdicts(config, found, *asked) == ["undecided"] * 3


def test_errors_of_the_matrix_decide_without_an_interval(config, found):
    asked = [
        compare("good", ["bad", "mean"], by, ratios=[4]) for by in ("mean_cosine", "relative_error")
    ]
    assert verdicts(config, found, *asked) == ["holds"] * 4
    rows = judge_comparisons(config, found, compare("bad", "good", "relative_error"))
    assert rows["verdict"].tolist() == ["does not hold"] * 2
    assert rows["low"].isna().all() and rows["difference"].tolist() == pytest.approx([0.18, 0.18])


def test_what_could_not_be_compressed_is_not_measured_and_says_why(config, found):
    rows = judge_comparisons(
        config, found, compare("good", "never"), compare("never", "bad", "mean_cosine")
    )
    assert set(rows["verdict"]) == {"not measured"} and set(rows["note"]) == {NOTE}
    assert summarize_claim(rows) == "not measured"


def test_a_control_stands_beside_every_ratio(config, found):
    rows = judge_comparisons(config, found, compare("good", "mean"), compare("identity", "mean"))
    assert rows["ratio"].tolist()[:2] == [4, 10] and pandas.isna(rows["ratio"][2])
    assert rows["verdict"].tolist() == ["holds"] * 3


def test_numbers_are_means_over_seeds_and_the_interval_is_of_their_difference(config, found):
    row = judge_comparisons(config, found, compare("good", "bad", ratios=[4])).iloc[0]
    pairs = [[outcomes_of("rotten", v, s)["predicted"] for v in ("good", "bad")] for s in (0, 1)]
    assert row["better_value"] == pytest.approx(np.mean([p[0].mean() for p in pairs]))
    assert row["worse_value"] == pytest.approx(np.mean([p[1].mean() for p in pairs]))
    assert (row["seeds"], row["n"]) == (2, N)
    assert row["low"] < row["difference"] == row["better_value"] - row["worse_value"] < row["high"]
    # Variance of the mean of two seeds with independent examples, and of the drawn seeds. Half of
    # the samples draw one seed twice; the deviations from the seeds' mean are scaled by sqrt(2).
    differences = np.array([p[0].astype(int) - p[1] for p in pairs])
    of_examples = 1 / 2 * differences.var(axis=1).sum() / N
    of_seeds = np.diff(differences.mean(1))[0] ** 2 / 4
    width = 2 * 1.96 * np.sqrt(of_examples + of_seeds)
    assert row["high"] - row["low"] == pytest.approx(width, rel=0.15)


def test_intervals_are_paired(config):
    """Two models wrong on the same examples differ by less than the width of their intervals."""
    random = np.random.default_rng(0)
    hard = random.random(N) < 0.4
    first = answers(~hard)
    second = answers(~(hard | (random.random(N) < 0.03)))
    found = difference(Classification, [(first, second)], "t", "accuracy")
    assert found.low > 0 and found.high - found.low < 0.05 and found.n == N


def test_a_difference_of_nothing_has_no_width():
    same = {"nll": np.full((6, 15), 2.0)}
    found = difference(LanguageModelling, [(same, same)] * 3, "t", "perplexity")
    assert (
        (found.first, found.low, found.high) == (pytest.approx(np.exp(2)), 0, 0)
        and found.n == 90
        and RESAMPLES == 1000
    )


@pytest.mark.parametrize(
    ("low", "high", "up", "wanted"),
    [
        (0.1, 2, True, "holds"),
        (-1, 2, True, "undecided"),
        (-2, -1, True, "does not hold"),
        (-2, -1, False, "holds"),
        (0, 1, True, "undecided"),
        (1, 2, False, "does not hold"),
    ],
)
def test_verdicts_by_interval(low, high, up, wanted):
    assert verdict(MetricPair(1, 2, low, high, 5), up) == wanted


def test_a_claims_verdict_counts_scores_and_errors_apart():
    verdicts = ["holds", "holds", "undecided", "does not hold", "not measured"]
    rows = pandas.DataFrame({"verdict": verdicts, "metric": "accuracy"})
    all_scores = "holds at 2 of 4 (1 undecided, 1 against it, 1 not measured)"
    assert summarize_claim(rows) == all_scores
    assert summarize_claim(rows[:2]) == "holds at 2 of 2"
    errors = pandas.DataFrame({"verdict": ["holds", "does not hold"], "metric": "mean_cosine"})
    of_errors = "of errors without interval holds at 1 of 2 (1 against it)"
    assert summarize_claim(errors) == of_errors
    assert summarize_claim(pandas.concat([rows, errors])) == f"{all_scores}; {of_errors}"


def test_a_missing_column_or_row_is_named(config, found):
    scores = found["scores"].drop(columns="mean_cosine")
    with pytest.raises(UserError, match="column mean_cosine.*claim"):
        judge_comparisons(config, found | {"scores": scores}, compare("good", "bad", "mean_cosine"))
    with pytest.raises(UserError, match="no row of bad on rotten: .*`scores`"):
        scores = found["scores"][found["scores"]["method"] != "bad"]
        judge_comparisons(config, found | {"scores": scores}, compare("good", "bad"))


def test_measures_are_those_of_the_tasks_and_of_the_table():
    told = {
        "achieved_ratio",
        "parameter_ratio",
        "model_ratio",
        "uncompressed_value",
        "target_ratio",
        "value",
    }
    about_matrix = {
        c for c in SCORE_COLUMNS if re.search("error|cosine|overlap|_db", c) and "bound" not in c
    }
    assert about_matrix <= set(ERRORS) and not told & set(ERRORS)


@pytest.fixture
def claims():
    """Claims with all kinds of verdicts, and characters that LaTeX escapes."""
    comparisons = [
        compare("good", ["bad", "twin"]),
        compare("bad", "good", "perplexity", "wikitext", ratios=[4]),
        compare("good", "never"),
        compare("good", "mean", "weighted_relative_error"),
    ]
    second = {"paper": "T24", "label": "Tamura et al. 2024", "evidence": "inferred"}
    return {
        "one": claim(*comparisons, text="50% & more_of it."),
        "two": claim(compare("twin", "never"), **second),
    }


@pytest.fixture
def claim_entries(claims):
    """The claims, as tables take them."""
    return {name: ClaimEntry.model_validate(entry) for name, entry in claims.items()}


@pytest.fixture
def rows(config, found, claims):
    found["scores"]["weighted_relative_error"] = found["scores"]["relative_error"]
    return judge(make_study(**config, claims=claims), **found)


def test_text_tells_claims_numbers_and_verdicts(rows, found, claim_entries, labels):
    text = to_text(
        claims_table(shown_claims(rows, found["scores"], labels), claim_entries, labels), 110
    )
    assert max(map(len, text.splitlines())) <= 110
    words = " ".join(text.split())
    verdict = (
        "holds at 2 of 5 (2 undecided, 1 against it, 2 not measured); "
        "of errors without interval holds at 2 of 2"
    )
    assert f"B21: 50% & more_of it. (abstract) → {verdict}" in words
    assert "Tamura et al. 2024: Good beats bad. (inferred) → not measured" in words
    # The pair once, then a row for each ratio.
    assert re.search(
        r"  A_good better than A_bad: Rotten & co, accuracy.↑\n +4 +4\.0, 4\.0 +97\.", text
    )
    assert re.search(
        r"^ +4 +4\.0, 4\.0 +97\.\d +7\d\.\d +1\d\.\d +\[1\d\.\d, 2\d\.\d\] +holds$",
        text,
        re.MULTILINE,
    )
    assert re.search("A_bad better than A_good: .*perplexity.↓", text)
    assert re.search(r"10 +-- +-- +-- +-- +-- +not measured\^a", text) and f"^a {NOTE}." in text


def test_latex_escapes_and_repeats_no_words(rows, found, claim_entries, labels):
    table = to_latex(
        claims_table(shown_claims(rows, found["scores"], labels), claim_entries, labels)
    )
    assert r"50\% \& more\_of it. (abstract) $\to$ holds at 2 of 5" in table
    assert table.count(r"A\_good better than A\_bad: Rotten \& co, accuracy\,$\uparrow$") == 1
    achieved = r"\{\$10\.0,\\,10\.0\$\}"
    holds = rf"^10 & {achieved} & 97\.\d & .* & \{{\\bfseries holds\}} \\\\$"
    assert re.search(holds, table, re.MULTILINE)
    assert r"perplexity\,$\downarrow$" in table and r"not measured\textsuperscript{a}" in table


def test_csv_has_a_line_a_comparison(rows):
    lines = to_csv(rows).splitlines()
    assert len(lines) == 1 + len(rows) and lines[0].startswith(
        "claim,paper,evidence,better,worse,task,metric,ratio"
    )
    assert re.match(
        r"one,B21,abstract,good,bad,rotten,accuracy,4,0\.97\d*,0\.\d+,0\.\d+,0\.\d+,0\.\d+,400,2,4,4,holds,$",
        lines[1],
    )


def test_table_compiles_and_fits_the_page_however_long(
    rows, found, claim_entries, labels, tmp_path
):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed (texlive-latex-recommended, texlive-science)")
    long = pandas.concat([rows] * 12, ignore_index=True)
    (tmp_path / "t.tex").write_text(
        latex_document(
            [
                to_latex(
                    claims_table(shown_claims(t, found["scores"], labels), claim_entries, labels)
                )
                for t in (rows, long)
            ]
        ),
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    for _ in range(3):  # a longtable settles its widths from run to run
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, errors="replace"
        )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, re.findall(r"Overfull.*", done.stdout)
