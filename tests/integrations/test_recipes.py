"""The recipe for mteb in docs/guides/compress.md, on mock tasks.

CI does not install mteb: it takes 270 MB.
"""

import importlib.util

import pytest

from embpress import compress_model

pytestmark = pytest.mark.xdist_group("sentence-transformers")


def needs(package):
    found = importlib.util.find_spec(package)
    return pytest.mark.skipif(found is None, reason=f"{package} is not installed")


@needs("mteb")
def test_mteb_evaluates_variants_side_by_side(tmp_path, bert, wordpiece):
    import mteb
    from mteb.mocks.mock_tasks import MockClassificationTask, MockSTSTask
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    from embpress.integrations.mteb import model_meta

    bert.save_pretrained(tmp_path / "bert")
    wordpiece.save_pretrained(tmp_path / "bert")
    modules = [Transformer(str(tmp_path / "bert")), Pooling(16, "mean")]
    dense = SentenceTransformer(modules=modules, device="cpu")
    dense.save_pretrained(str(tmp_path / "dense"))
    cache = mteb.ResultCache(tmp_path / "cache")
    scores = {}
    for method, ratio in (("identity", 1), ("svd", 1.5)):
        compress_model(tmp_path / "dense", tmp_path / method, method, ratio)
        meta = model_meta(tmp_path / method, "org/tiny")
        assert meta.experiment_kwargs["method"] == method and meta.name.startswith("org/tiny-")
        tasks = [MockSTSTask(), MockClassificationTask()]
        result = mteb.evaluate(meta, tasks, cache=cache, show_progress_bar=False)
        assert (result.model_name, result.model_revision) == (meta.name, meta.revision)
        scores[meta.name] = [r.get_score() for r in result.task_results]
    assert len(scores) == 2 and all(len(values) == 2 for values in scores.values())
    expected = mteb.evaluate(dense, [MockSTSTask()], cache=None, show_progress_bar=False)
    identical = next(values for name, values in scores.items() if "identity" in name)
    assert identical[0] == pytest.approx(expected.task_results[0].get_score(), abs=1e-6)
    assert [path.name for path in (tmp_path / "cache").rglob("model_meta.json")]
