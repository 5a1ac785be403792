"""Files of outcomes."""

import numpy as np

from embpress.pipeline.evaluation import read_outcomes, write_outcomes
from embpress.tasks._span_metrics import answer_scores


def test_outcomes_are_read_as_written_even_from_strided_views(tmp_path):
    answers = ("red house", "red", "blue", "a red house here")
    scores = [answer_scores(answer, ("the red house",), "words") for answer in answers]
    exact, f1 = np.array(scores).T
    assert not f1.flags["C_CONTIGUOUS"]
    written = {
        "4": {"f1": f1, "exact_match": exact, "losses": np.arange(12.0).reshape(3, 4)[:, 1:3]},
        "10": {"f1": f1[::2]},
    }
    write_outcomes(written, tmp_path / "here" / "svd.safetensors")
    read = read_outcomes(tmp_path / "here" / "svd.safetensors")
    assert set(read) == {"4", "10"}
    for artefact, outcomes in written.items():
        assert set(read[artefact]) == set(outcomes)
        for name, values in outcomes.items():
            assert np.array_equal(read[artefact][name], values), name
    assert (read["4"]["f1"] >= read["4"]["exact_match"]).all()
