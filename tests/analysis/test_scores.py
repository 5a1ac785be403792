"""The table of scores."""

from dataclasses import replace

import numpy as np
import pandas
import pytest

from embpress.analysis.scores import (
    SCORE_COLUMNS,
    MethodLabel,
    mean_over_seeds,
    read_scores,
    select_scores,
    write_scores,
)
from embpress.errors import UserError

from ..fake_study import TASKS, fake_labels, fake_scores


def test_round_trip_is_byte_identical_whatever_the_order(tmp_path):
    frame = fake_scores(seeds=2)
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv")]
    write_scores(frame, paths[0])
    write_scores(frame.sample(frac=1, random_state=1), paths[1])
    write_scores(read_scores(paths[0]), paths[2])
    assert len({p.read_bytes() for p in paths}) == 1
    assert b"\r" not in paths[0].read_bytes()
    again = read_scores(paths[0])
    assert list(again.columns) == SCORE_COLUMNS and len(again) == len(frame)


def test_values_keep_six_digits_and_counts_stay_whole(tmp_path):
    frame = (
        fake_scores()
        .head(1)
        .assign(value=0.123456789, n=12345678, note='a "quoted", note\nof two lines', method="NA")
    )
    write_scores(frame, tmp_path / "scores.csv")
    row = read_scores(tmp_path / "scores.csv").iloc[0]
    assert (row["value"], row["n"], row["method"]) == (0.123457, 12345678, "NA")
    assert row["note"] == 'a "quoted", note of two lines'
    assert np.isnan(row["target_ratio"])


def test_missing_unknown_and_double_rows_are_named(tmp_path):
    frame = fake_scores()
    with pytest.raises(UserError, match="lacks column.*retention"):
        write_scores(frame.drop(columns="retention"), tmp_path / "scores.csv")
    with pytest.raises(UserError, match="unknown column.*colour"):
        write_scores(frame.assign(colour=1), tmp_path / "scores.csv")
    with pytest.raises(UserError, match="two rows for.*identity"):
        write_scores(pandas.concat([frame, frame.head(1)]), tmp_path / "scores.csv")
    (tmp_path / "short.csv").write_text("study,model\na,b\n")
    with pytest.raises(UserError, match="short.csv lacks column.*task"):
        read_scores(tmp_path / "short.csv")


def test_means_over_seeds():
    frame = fake_scores(seeds=3)
    pick = (frame["task"] == "rotten") & (frame["method"] == "svd") & (frame["target_ratio"] == 10)
    means = mean_over_seeds(frame)
    row = means[
        (means["task"] == "rotten") & (means["method"] == "svd") & (means["target_ratio"] == 10)
    ].iloc[0]
    assert row["seeds"] == 3
    assert row["value"] == pytest.approx(frame[pick]["value"].mean())
    assert row["value_sd"] == pytest.approx(frame[pick]["value"].std())


def test_seeds_without_a_value_are_not_counted():
    frame = fake_scores(seeds=3)
    svd = (frame["method"] == "svd") & (frame["target_ratio"] == 10) & (frame["seed"] == 1)
    frame.loc[svd, ["value", "retention"]] = np.nan
    means = mean_over_seeds(frame)
    own = means[(means["method"] == "svd") & (means["target_ratio"] == 10)]
    assert set(own["seeds"]) == {2} and own["value"].notna().all()


def test_intervals_of_means_are_those_over_all_seeds_not_means_of_those_of_each():
    frame = fake_scores(seeds=2).assign(mean_retention_low=68.5, mean_retention_high=91.5)
    means = mean_over_seeds(frame[frame["task"] == "rotten"])
    assert set(means["retention_low"]) == {68.5} and set(means["retention_high"]) == {91.5}


def test_one_task_never_mixes_protocols():
    frame = fake_scores(seeds=2)
    frame.loc[frame["seed"] == 1, "protocol"] = "compress_then_finetune"
    with pytest.raises(UserError, match="mixes several values of protocol"):
        mean_over_seeds(frame)


def test_a_fixed_size_goes_to_the_nearest_ratio():
    assert [fake_labels().block(r) for r in (3.9, 6, 6.4, 32)] == [4, 4, 10, 25]


def test_a_slice_keeps_the_uncompressed_model_and_the_codecs_of_its_block():
    scores, labels = select_scores(fake_scores(), fake_labels(), ["rotten"], [], [4.0])
    assert set(scores["task"]) == {"rotten"} == set(labels.tasks)
    assert set(scores["target_ratio"].dropna()) == {3.9, 4.0} and {"identity", "random"} < set(
        scores["method"]
    )
    scores, labels = select_scores(fake_scores(), fake_labels(), [], ["svd"], [])
    assert set(scores["method"]) == {"identity", "svd"} and list(labels.tasks) == list(TASKS)
    assert len(select_scores(fake_scores(), fake_labels(), [], [], [])[0]) == len(fake_scores())


@pytest.mark.parametrize(
    ("tasks", "methods", "ratios", "message"),
    [
        (["rotten", "glue"], [], [], "no task glue; it has rotten, bitext"),
        ([], ["sdv"], [], "no method sdv; it has identity"),
        ([], [], [7.0], "no ratio 7.0; it has 4.0, 10.0, 25.0"),
    ],
)
def test_a_slice_of_what_is_not_there_names_what_is(tasks, methods, ratios, message):
    with pytest.raises(UserError, match=message):
        select_scores(fake_scores(), fake_labels(), tasks, methods, ratios)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"a,b\n1,2,3\n4,5\n6,7,8,9\n"])
def test_what_is_no_table_is_refused(tmp_path, content):
    (tmp_path / "scores.csv").write_bytes(content)
    with pytest.raises(UserError, match="scores.csv"):
        read_scores(tmp_path / "scores.csv")


def test_rows_as_published_are_told_from_those_at_their_best():
    labels = fake_labels()
    published = MethodLabel("SVD, as published", "baseline", base="svd", setting="published")
    labels = replace(labels, methods={**labels.methods, "svd_published": published})
    scores = fake_scores()
    own = scores[scores["method"] == "svd"].assign(method="svd_published", setting="published")
    both = pandas.concat([scores, own], ignore_index=True)
    best = labels.at_best()
    assert list(best.methods) == list(fake_labels().methods)
    pandas.testing.assert_frame_equal(best.rows(both), scores)
    assert set(labels.rows(both)["setting"]) == {"best", "published"}
    # A method that a study has only as published is shown.
    only = replace(labels, methods={k: v for k, v in labels.methods.items() if k != "svd"})
    assert "svd_published" in only.at_best().methods
    # Tables of sizes have rows of the checkpoint itself.
    assert len(best.rows(pandas.DataFrame({"method": ["", "svd", "svd_published"]}))) == 2
