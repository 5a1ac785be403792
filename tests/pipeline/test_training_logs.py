"""What checkpoints and students recorded of their training."""

import json

import pytest

from embpress.pipeline.training_logs import COLUMNS, LOG, read_logs

ROW = {"step": 10, "epoch": 0.5, "loss": 0.7, "learning_rate": 1e-4}


@pytest.fixture
def write(tmp_path):
    """Write a log of rows into a folder under results."""

    def written(place, rows):
        (tmp_path / place).mkdir(parents=True)
        if rows:
            (tmp_path / place / LOG).write_text(json.dumps({"rows": rows}))
        return tmp_path / place

    return written


def test_logs_of_checkpoints_are_read_with_their_task_and_seed(write):
    folders = [write("finetuned/mrpc/seed0", []), write("finetuned/cola/seed0", [])]
    folders.append(write("finetuned/mrpc/seed12", [ROW, ROW | {"step": 20, "held_out_loss": 0.8}]))
    found = read_logs(folders)
    assert list(found) == COLUMNS and len(found) == 2
    assert (
        set(found["stage"]) == {"finetuned"}
        and set(found["task"]) == {"mrpc"}
        and set(found["seed"]) == {12}
    )
    assert set(found["method"]) == {""} and found["ratio"].isna().all()
    assert found["held_out_loss"].isna().tolist() == [True, False]
    assert read_logs(folders[:1]).empty


def test_logs_of_students_are_read_with_their_method_and_ratio_whatever_their_terms_are_called(
    write,
):
    row = ROW | {"attention": 0.4, "task": 0.3}
    folders = [
        write("students_on_text/mrpc/seed1/kronecker/4", [row]),
        write("students/mrpc/seed1/svd/2.5", [row]),
    ]
    found = read_logs(folders)
    assert found["stage"].tolist() == ["students_on_text", "students"] and found[
        "task"
    ].tolist() == ["mrpc", "mrpc"]
    assert found["method"].tolist() == ["kronecker", "svd"] and found["ratio"].tolist() == [4, 2.5]
    assert found["loss"].tolist() == [0.7, 0.7] and found["seed"].tolist() == [1, 1]
