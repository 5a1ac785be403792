"""Records of the folders that a study fits and trains."""

import json
from pathlib import Path

import pytest

from embpress.study.artefact import STUDENTS, Artefact, TrainedModel


@pytest.mark.parametrize(("ratio", "name"), [(4, "4"), (2.5, "2.5"), (10.0, "10"), (1, "1")])
def test_the_folder_of_an_artefact_tells_seed_variant_and_ratio(ratio, name):
    artefact = Artefact.below(Path("results/compressed/minilm"), "svd", ratio, 3)
    assert artefact.folder == Path(f"results/compressed/minilm/seed3/svd/{name}")
    assert artefact.name == artefact.folder.name


@pytest.mark.parametrize(
    "record",
    [
        Artefact(Path("a/svd/2.5"), "svd", 2.5, 1),
        TrainedModel(Path("a/seed0"), "finetuned", "mrpc", 0),
        TrainedModel(Path("a/svd/4"), STUDENTS, "mrpc", 0, "svd", 4),
    ],
)
def test_records_pass_through_json(record):
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record
