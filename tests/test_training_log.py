"""What checkpoints recorded of their training."""

import json

from embpress.training_log import COLUMNS, LOG, read_logs


def test_logs_are_read_with_their_checkpoint_and_seed(tmp_path):
    folders = [tmp_path / "mrpc/seed0", tmp_path / "mrpc/seed12", tmp_path / "cola/seed0"]
    for folder in folders:
        folder.mkdir(parents=True)
    row = {"step": 10, "epoch": 0.5, "loss": 0.7, "learning_rate": 1e-4}
    (folders[1] / LOG).write_text(json.dumps({"rows": [row, row | {"step": 20, "score": 0.8}]}))
    found = read_logs(folders)
    assert list(found) == COLUMNS and len(found) == 2
    assert set(found["checkpoint"]) == {"mrpc"} and set(found["seed"]) == {12}
    assert found["score"].isna().tolist() == [True, False]
    assert read_logs(folders[:1]).empty
