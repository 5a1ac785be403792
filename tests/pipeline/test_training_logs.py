"""Training logs of checkpoints and students in one table."""

import json

import pytest

from embpress.pipeline.training_logs import LOG, LOG_COLUMNS, read_logs
from embpress.study.artefact import FINETUNED, ON_TEXT, STUDENTS, TrainedModel

ROW = {"step": 10, "epoch": 0.5, "loss": 0.7, "learning_rate": 1e-4}


@pytest.fixture
def write(tmp_path):
    """Write a log of rows into the folder of a trained model."""

    def write_log(rows, *model):
        folder = tmp_path / "-".join(map(str, model))
        folder.mkdir()
        if rows:
            (folder / LOG).write_text(json.dumps({"rows": rows}))
        return TrainedModel(folder, *model)

    return write_log


def test_logs_of_checkpoints_are_read_with_their_task_and_seed(write):
    models = [write([], FINETUNED, "mrpc", 0), write([], FINETUNED, "cola", 0)]
    rows = [ROW, ROW | {"step": 20, "held_out_loss": 0.8}]
    models.append(write(rows, FINETUNED, "mrpc", 12))
    logs = read_logs(models)
    assert list(logs) == LOG_COLUMNS and len(logs) == 2
    assert set(logs["stage"]) == {"finetuned"}
    assert set(logs["task"]) == {"mrpc"} and set(logs["seed"]) == {12}
    assert set(logs["method"]) == {""} and logs["ratio"].isna().all()
    assert logs["held_out_loss"].isna().tolist() == [True, False]
    assert read_logs(models[:1]).empty


def test_logs_of_students_are_read_with_their_method_and_ratio_whatever_their_terms_are_called(
    write,
):
    row = ROW | {"attention": 0.4, "task": 0.3}
    logs = read_logs(
        [
            write([row], ON_TEXT, "mrpc", 1, "kronecker", 4),
            write([row], STUDENTS, "mrpc", 1, "svd", 2.5),
        ]
    )
    assert logs["stage"].tolist() == ["students_on_text", "students"]
    assert logs["task"].tolist() == ["mrpc", "mrpc"]
    assert logs["method"].tolist() == ["kronecker", "svd"] and logs["ratio"].tolist() == [4, 2.5]
    assert logs["loss"].tolist() == [0.7, 0.7] and logs["seed"].tolist() == [1, 1]
