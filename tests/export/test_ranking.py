import math

import numpy as np
import pandas
import pytest
import torch

from embpress import RankingSettings, rank_methods
from embpress.analysis.scores import SCORE_COLUMNS, write_scores
from embpress.errors import UserError
from embpress.export.ranking import MEGABYTE, fit_retention_curve, list_candidates
from embpress.methods import compress


@pytest.fixture
def matrix():
    """A matrix with a decaying spectrum, which low rank approximates well."""
    torch.manual_seed(0)
    return torch.randn(400, 32) * torch.logspace(0, -2, 32)


def rank(matrix, max_megabytes, methods, **settings):
    return rank_methods(matrix, max_megabytes, RankingSettings(methods, **settings))


def scores_of(path, curve, noise=0.0):
    """A study in which retention falls with the error as `curve` says."""
    rng = np.random.default_rng(0)
    rows = []
    for i, method in enumerate(["identity", "svd", "integer", "b21", "lighttoken", "mean"]):
        for ratio in (4.0, 10.0, 25.0):
            error = min(i * 0.1 + ratio / 100, 1.0)
            row = dict.fromkeys(SCORE_COLUMNS, math.nan) | dict.fromkeys(
                ("study", "model", "task", "protocol", "note"), "x"
            )
            row |= dict(
                method=method,
                factor_dtype="float32",
                metric="accuracy",
                target_ratio=ratio,
                seed=0,
                n=100,
            )
            rows.append(
                row
                | dict(
                    weighted_relative_error=error,
                    retention=curve(error) + noise * rng.standard_normal(),
                )
            )
    write_scores(pandas.DataFrame(rows), path)
    return path


def test_all_that_fit_keep_the_budget_and_the_nearest_wins(matrix):
    found = rank(matrix, 0.02, ["svd", "integer", "kronecker"])
    fitting = [c for c in found.candidates if c.fits]
    assert all(c.bytes <= 0.02 * MEGABYTE for c in fitting)
    errors = [c.weighted_relative_error for c in fitting]
    assert errors == sorted(errors) and found.best.weighted_relative_error == errors[0]
    assert found.target_ratio == 4 * matrix.numel() / 20_000


def test_counts_decide_which_rows_matter(matrix):
    counts = torch.ones(400, dtype=torch.int64)
    counts[:100] = 10_000
    plain, counted = (rank(matrix, 0.006, ["svd"], counts=c).best for c in (None, counts))
    assert plain.options["weighting"] == "uniform" and counted.options["weighting"] == "counts"
    assert plain.relative_error < counted.relative_error
    assert plain.weighted_relative_error == pytest.approx(plain.relative_error)
    assert counted.weighted_relative_error != pytest.approx(counted.relative_error)


def test_each_method_is_fitted_at_its_best_precision_for_the_size(matrix):
    for megabytes in (0.005, 0.012, 0.02):
        best = rank(matrix, megabytes, ["svd"]).best
        ratio = 4 * matrix.numel() / megabytes / MEGABYTE
        errors = {}
        for dtype in ("float32", "int8", "int4"):
            decoded = compress(matrix, "svd", ratio, factor_dtype=dtype).dense()
            errors[dtype] = float((decoded - matrix).norm() / matrix.norm())
        assert best.options["factor_dtype"] == min(errors, key=lambda dtype: errors[dtype])
        assert best.relative_error == pytest.approx(min(errors.values()))
    assert rank(matrix, 0.02, ["integer"]).best.options == {}


def test_what_cannot_be_reached_is_a_note(matrix):
    found = rank(matrix, 0.003, ["normal_float", "svd"])
    assert found.best.method == "svd" and "lower ratio" in found.candidates[1].note
    found = rank(matrix, 0.03, ["t24", "svd"])
    assert found.best.method == "svd" and "needs token counts" in found.candidates[1].note


def test_one_method_that_fails_does_not_end_the_others(matrix):
    matrix[0] *= 1e7  # beyond the float16 scales of int8 rows
    found = rank(matrix, 0.02, ["integer", "svd"])
    assert found.best.method == "svd" and "fp16" in found.candidates[1].note
    special = {"counts": torch.ones(400), "special_ids": tuple(range(300))}
    found = rank(matrix, 0.025, ["t24", "svd"], **special)
    assert found.best.method == "svd" and "300 special tokens" in found.candidates[1].note


def test_without_counts_rows_weigh_alike(matrix):
    found = rank(matrix, 0.02, ["ectcq"])
    alike = compress(matrix, "ectcq", found.target_ratio, weighting="uniform")
    assert found.best.relative_error == pytest.approx(
        float((alike.dense() - matrix).norm() / matrix.norm())
    )


def test_a_bad_matrix_or_counts_of_another_are_errors(matrix):
    with pytest.raises(UserError, match="counts"):
        rank(matrix, 0.02, ["svd"], counts=torch.ones(7))
    matrix[3, 1] = math.nan
    with pytest.raises(UserError, match="first in row 3"):
        rank(matrix, 0.02, ["svd"])


def test_controls_do_not_compete():
    assert "svd" in list_candidates() and not {"identity", "random", "mean"} & set(
        list_candidates()
    )


def test_retention_is_read_off_the_studys_curve(matrix, tmp_path):
    path = scores_of(tmp_path / "scores.csv", lambda e: 100 * (1 - e))
    predict, missed = fit_retention_curve(path)
    assert predict(0.0) >= predict(0.5) >= predict(1.0)
    assert predict(0.3) == pytest.approx(70, abs=5) and missed < 15
    best = rank(matrix, 0.02, ["svd"], scores=path).best
    assert best.retention == pytest.approx(predict(best.weighted_relative_error))


def test_an_estimate_that_is_worth_little_says_so(tmp_path):
    sharp = fit_retention_curve(scores_of(tmp_path / "a.csv", lambda e: 100 * (1 - e)))[1]
    blurred = fit_retention_curve(scores_of(tmp_path / "b.csv", lambda e: 50.0, noise=30.0))[1]
    assert blurred > 2 * sharp


def test_a_table_of_something_else_is_named(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"x\.csv"):
        fit_retention_curve(tmp_path / "x.csv")
