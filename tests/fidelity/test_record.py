"""Results of fits in files."""

import json

import pytest

from embpress.fidelity.record import RESULT, Fitted, Infeasible, read_result
from embpress.files import write_json


@pytest.mark.parametrize(
    "result",
    [
        Infeasible("SVD reaches at most 9.23"),
        Fitted(640, None, 3.2, reconstruction={"relative_error": 0.1}, bound={"distance_db": None}),
        Fitted(640, 20, None, dense_floats=64, dense_embedding_floats=0, modules=[]),
    ],
)
def test_a_result_is_read_as_written(result, tmp_path):
    write_json(tmp_path / RESULT, result.to_json())
    assert read_result(tmp_path) == result


def test_keys_that_do_not_apply_are_not_written():
    assert Infeasible("why").to_json() == {"infeasible": "why"}
    sizes = {"stored_bits": 640, "stored_floats": None, "ratio": 3.2}
    assert Fitted(640, ratio=3.2).to_json() == sizes
    # 0 and an empty list are values.
    assert Fitted(640, dense_embedding_floats=0).to_json()["dense_embedding_floats"] == 0


def test_a_result_of_a_layer_study_written_before_is_read(tmp_path):
    """The layout of result.json does not depend on the classes."""
    record = {"kind": "query", "name": "query-0", "squared_error": 0.5}
    written = {"stored_bits": 320, "stored_floats": 10, "ratio": 2.0, "dense_floats": 20}
    written |= {"dense_embedding_floats": 0, "modules": [record]}
    (tmp_path / RESULT).write_text(json.dumps(written))
    result = read_result(tmp_path)
    assert isinstance(result, Fitted) and result.to_json() == written
