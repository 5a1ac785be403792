"""Variants of one method are found where they meet, in the order of the study."""

import re

from embpress.analysis.ablations import compare_variants
from embpress.report.tables import ablations_table, speed_table, to_latex

from ..fake_study import RATIOS, fake_ablations, fake_labels, fake_scores, fake_speed
from ..studies import load


def test_only_variants_that_meet_at_a_ratio_are_compared():
    # int8 and int4 are of one method too, but never run at the same ratio.
    assert compare_variants(fake_scores(), fake_labels()).empty
    scores, labels = fake_ablations()
    found = compare_variants(scores, labels)
    assert list(dict.fromkeys(found["task"])) == list(labels.tasks)
    assert found["method"].tolist() == ["b23", "b23_plain"] * 4 * len(RATIOS)
    assert found["target_ratio"].tolist()[:6] == [r for r in RATIOS for _ in range(2)]


def test_a_config_tells_before_it_runs(default_config):
    assert load(default_config).compares_variants  # methods at their best and as published
    default_config["methods"] = {"identity": {}, "svd": {}}
    default_config["claims"] = {}
    for task in default_config["tasks"].values():
        task.pop("methods", None)
    assert not load(default_config).compares_variants
    default_config["methods"]["svd_half"] = {
        "method": "svd",
        "options": {"factor_dtype": "float16"},
        "ratios": [25],
    }
    assert load(default_config).compares_variants
    default_config["methods"]["svd_half"]["ratios"] = [24]
    assert not load(default_config).compares_variants


def test_the_table_has_a_block_a_comparison_ties_in_bold_and_reasons():
    scores, labels = fake_ablations()
    table = to_latex(ablations_table(compare_variants(scores, labels), labels))
    assert table.count(r"\midrule") == 4 * len(RATIOS)
    assert "plain\\_norms" in table and table.count("b23\\_plain reaches at most 12.") == 1
    first = table.split(r"\midrule")[1].splitlines()
    assert "target ratio 4" in first[1] and r"\bfseries" in first[2]
    block = compare_variants(scores, labels).head(2)
    tied = block["retention_high"][1] >= block["retention"][0]
    assert (r"\bfseries" in first[3]) == tied


def test_speed_has_a_block_a_model_and_ratio_beside_the_dense_lookup():
    table = to_latex(speed_table(fake_speed(), fake_labels()))
    titles = re.findall(r"itshape (.*)\} \\\\\*", table)
    assert titles[:4] == ["MiniLM-L6", *(rf"MiniLM-L6, target ratio {r:g}$\times$" for r in RATIOS)]
    assert "uncompressed & 46.88 & 10 & 1.0 & 1280 & 1.0" in table
    assert "SVD & 11.72 & 30 & 3.0 & 3840 & 3.0" in table
