"""From a checkpoint's files to an artefact and its result."""

import json

import pytest
import torch
from safetensors.torch import save_file

from embpress.data.token_counts import write_counts
from embpress.fidelity.rate_distortion import GaussianSource
from embpress.fidelity.record import read_result
from embpress.models.checkpoints import METADATA_FILE
from embpress.numerics.weights import smooth_counts
from embpress.pipeline import compression
from embpress.pipeline.aggregation import Evaluation, bounds
from embpress.pipeline.bounds import RATIOS, bound_curve
from embpress.study.artefact import Artefact
from embpress.study.layer_kinds import EMBEDDING
from embpress.study.method_entry import MatrixSpec

from ..studies import make_study
from .entries import language_modelling

V = 200
D = 16


@pytest.fixture
def files(tmp_path):
    """A checkpoint that holds a normal matrix alone, and counts like a corpus's."""
    matrix = torch.randn(V, D, generator=torch.Generator().manual_seed(0))
    counts = (1e4 / torch.arange(1, V + 1)).long()
    (tmp_path / "model").mkdir()
    save_file({"words.weight": matrix}, tmp_path / "model/model.safetensors")
    about = {
        "embedding": "words.weight",
        "shape": [V, D],
        "special_ids": [3, 5],
        "parameters": V * D,
    }
    (tmp_path / "model" / METADATA_FILE).write_text(json.dumps(about))
    write_counts(counts, tmp_path / "counts.safetensors")
    return tmp_path / "model", tmp_path / "counts.safetensors"


def test_the_result_holds_metrics_and_distances_from_the_bound(files, tmp_path, monkeypatch):
    contexts = []
    compress = compression.compress
    monkeypatch.setattr(
        compression,
        "compress",
        lambda *args, **options: contexts.append(args[3]) or compress(*args, **options),
    )
    result = compression.compress_checkpoint(
        compression.FitInputs(*files),
        MatrixSpec(kind=EMBEDDING, method="svd"),
        Artefact(tmp_path / "out", "svd", 2.0, 7),
        lambda message: None,
    )
    assert json.loads((tmp_path / "out/result.json").read_text()) == result.to_json()
    assert read_result(tmp_path / "out") == result
    assert (contexts[0].special_ids, contexts[0].seed) == ((3, 5), 7)
    near = result.reconstruction
    bound = result.bound
    assert 0 < bound["weighted_error_bound"] < bound["error_bound"] < near["relative_error"] < 1
    assert near["relative_error"] == pytest.approx(
        bound["error_bound"] * 10 ** (bound["distance_db"] / 20)
    )


def test_an_exact_copy_has_no_distance(files, tmp_path):
    result = compression.compress_checkpoint(
        compression.FitInputs(*files),
        MatrixSpec(kind=EMBEDDING, method="identity"),
        Artefact(tmp_path / "out", "identity", 1.0, 0),
        lambda message: None,
    )
    assert result.bound["distance_db"] is None
    assert result.reconstruction["eigenspace_overlap"] == pytest.approx(1)


def test_the_curve_of_bounds_is_the_sources(files):
    rows = bound_curve(*files)
    source = GaussianSource.from_matrix(
        torch.randn(V, D, generator=torch.Generator().manual_seed(0))
    )
    assert [r["weighting"] for r in rows] == ["uniform"] * len(RATIOS) + ["counts"] * len(RATIOS)
    weights = smooth_counts((1e4 / torch.arange(1, V + 1)).long())
    at_eight = [r["relative_error"] for r in rows if r["ratio"] == 8]
    assert at_eight == [source.relative_error(8), source.relative_error(8, weights)]


def test_a_checkpoint_of_several_tasks_has_one_curve_a_seed(files):
    study = make_study(tasks={task: language_modelling(label=task.upper()) for task in "ab"})
    paths = {
        "outcomes": "none",
        "checkpoint": str(files[0]),
        "counts": str(files[1]),
        "artefacts": [],
    }
    evaluations = [
        Evaluation.from_json({"task": t, "variant": "svd", "seed": s, **paths})
        for t in "ab"
        for s in (0, 1)
    ]
    curves = bounds(study, evaluations)
    assert set(curves["model"]) == {"Model"} and len(curves) == 2 * 2 * len(RATIOS)
