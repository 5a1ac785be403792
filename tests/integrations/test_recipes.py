"""The recipes for mteb and lm-eval in docs/guides/compress.md, on mock tasks.

CI does not install mteb, which takes 270 MB, nor lm-eval.
"""

import importlib.util
import json

import pytest

import embpress
from embpress import compress_model
from tests.zoo import tiny

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


@needs("lm_eval")
def test_lm_eval_gives_an_uncompressed_model_the_scores_of_the_dense_one(tmp_path, wordpiece):
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    model = tiny("llama_tied").eval()
    model.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    wordpiece.eos_token = "[SEP]"
    words = sorted(wordpiece.get_vocab(), key=wordpiece.get_vocab().get)[5:9]
    rows = [{"text": words[i % 4], "choices": words[:2], "label": i % 2} for i in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def scores(pretrained):
        task = ConfigurableTask(
            config={
                "task": "mock",
                "dataset_path": "json",
                "dataset_kwargs": {"data_files": {"test": str(tmp_path / "rows.jsonl")}},
                "test_split": "test",
                "output_type": "multiple_choice",
                "doc_to_text": "{{text}}",
                "doc_to_choice": "choices",
                "doc_to_target": "label",
            }
        )
        lm = HFLM(pretrained=pretrained, tokenizer=wordpiece, device="cpu", max_length=16)
        found = lm_eval.simple_evaluate(lm, tasks=[task], bootstrap_iters=0)
        return found["results"]["mock"], [s["resps"] for s in found["samples"]["mock"]]

    dense, compressed = scores(model), scores(embpress.load(tmp_path / "out"))
    assert compressed[1] == dense[1] and compressed[0]["acc,none"] == dense[0]["acc,none"]
