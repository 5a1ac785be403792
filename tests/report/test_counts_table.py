"""What token counts give, as a table."""

from dataclasses import replace

import pandas
import pytest

from embpress.analysis.scores import MethodLabel
from embpress.pipeline.aggregation import labels as study_labels
from embpress.report.tables import counts_table, to_text

from ..studies import load


def test_a_variant_stands_beside_the_same_fit_without_counts(scores, labels):
    uniform = MethodLabel("SVD, no counts", "baseline", base="svd")
    methods = labels.methods | {
        "svd": replace(labels.methods["svd"], uniform="svd_uniform"),
        "svd_uniform": uniform,
    }
    twin = scores[(scores["method"] == "svd") & (scores["target_ratio"] != 25)]
    twin = twin.assign(method="svd_uniform", retention=twin["retention"] - 3)
    both = pandas.concat([scores, twin], ignore_index=True)
    table = counts_table(both, replace(labels, methods=methods))
    assert [section.title for section in table.sections] == [
        "Target ratio 4×",
        "Target ratio 10×",
    ]
    for row in table.rows():
        assert row[0].text == "SVD"
        without, with_counts, gain, *gains = (float(cell.text) for cell in row[1:])
        assert with_counts - without == pytest.approx(3, abs=0.11)
        assert gain == 3 and gains == [3] * len(labels.tasks)
    assert to_text(table).count("SVD") == 2
    assert not counts_table(scores, labels).rows()


def test_twins_differ_by_counts_alone(default_config):
    counts = {"factor_dtype": "int8", "weighting": "counts"}
    default_config["methods"] |= {
        "svd": {"options": counts},
        "svd_other": {"method": "svd", "options": {"factor_dtype": "float16"}},
        "svd_uniform": {"method": "svd", "options": {"factor_dtype": "int8"}, "ratios": [10]},
        "ectcq": {},  # counts are its default
        "ectcq_scalar": {"method": "ectcq", "options": {"quantizer": "scalar"}},
        "ectcq_uniform": {"method": "ectcq", "options": {"weighting": "uniform"}},
    }
    methods = study_labels(load(default_config))["methods"]
    assert methods["svd"]["uniform"] == "svd_uniform"
    assert methods["ectcq"]["uniform"] == "ectcq_uniform"
    others = {"svd_other", "svd_uniform", "ectcq_scalar", "ectcq_uniform", "identity", "signs"}
    assert {methods[name]["uniform"] for name in others} == {""}
