"""Tiny random models through the workflow's steps: folder, checkpoint, matrix, outputs."""

import pytest
import torch

from embpress import storage
from embpress.data.models import prepare_checkpoint
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.models.embedding import EmbeddingSlot, find_embedding, tied_head, untie_head
from embpress.models.loading import load_model
from embpress.study.checks import check_model_folder
from tests.studies import model_entry
from tests.zoo import V, outputs, tiny

# Name in the zoo, how it is loaded, the head that shares the embedding, the embedding's width.
KINDS = [
    ("bert", "encoder", None, 16),
    ("bert_mlm", "masked_lm", "cls.predictions.decoder", 16),
    ("bert_classifier", "classifier", None, 16),
    ("distilbert_mlm", "masked_lm", "vocab_projector", 16),
    ("roberta_mlm", "masked_lm", "lm_head.decoder", 16),
    ("xlm_roberta_mlm", "masked_lm", "lm_head.decoder", 16),
    ("xlm_roberta_classifier", "classifier", None, 16),
    ("modernbert_mlm", "masked_lm", "decoder", 16),
    ("deberta_mlm", "masked_lm", "cls.predictions.decoder", 16),
    ("deberta_v2", "encoder", None, 16),
    ("deberta_v2_mlm", "masked_lm", "cls.predictions.decoder", 16),
    ("electra", "encoder", None, 8),
    ("electra_mlm", "masked_lm", "generator_lm_head", 8),
    ("gpt2", "causal_lm", "lm_head", 16),
    ("llama_tied", "causal_lm", "lm_head", 16),
    ("llama_untied", "causal_lm", None, 16),
    ("qwen3", "causal_lm", "lm_head", 16),
]


@pytest.fixture(params=KINDS, ids=[kind[0] for kind in KINDS])
def kind(request, tmp_path):
    """A model of a kind, and the folder that it was saved to."""
    model = tiny(request.param[0])
    model.save_pretrained(tmp_path / "model")
    return (tmp_path / "model", model, *request.param[1:])


def test_the_embedding_is_found_with_its_width_and_the_head_that_shares_it(kind):
    folder, model, head, tied, width = kind
    check_model_folder(folder, "models.x")
    loaded = load_model(folder, head)
    name, embedding = find_embedding(loaded)
    assert embedding is loaded.get_input_embeddings() and embedding.weight.shape == (V, width)
    assert loaded.get_parameter(name) is embedding.weight
    found = tied_head(loaded)
    assert tied == next((n for n, module in loaded.named_modules() if module is found), None)
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0, atol=0)


def test_compressed_saved_and_loaded_it_gives_the_same_outputs(kind, tmp_path):
    folder, model, head, tied, width = kind
    loaded = load_model(folder, head)
    storage.save(
        compress(find_embedding(loaded)[1].weight.detach(), "identity", 1), tmp_path / "identity"
    )
    storage.save(compress(find_embedding(loaded)[1].weight.detach(), "svd", 1.5), tmp_path / "svd")
    slot = EmbeddingSlot(loaded)
    assert slot.heads == ([] if tied is None else [tied])
    slot.set_matrix(storage.load(tmp_path / "identity"))
    assert not any(
        p.shape == (V, width) for n, p in loaded.named_parameters() if n != "lm_head.weight"
    )
    torch.testing.assert_close(outputs(loaded), outputs(model))
    # Another matrix reaches the head that shares it, and no other.
    svd = storage.load(tmp_path / "svd")
    slot.set_matrix(svd)
    with torch.no_grad():
        find_embedding(model)[1].weight.copy_(svd.dense())
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "head", "tied"), [kind[:3] for kind in KINDS if kind[2]])
def test_a_head_that_is_untied_stays_as_it_was(name, head, tied, tmp_path):
    tiny(name).save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model", head)
    before = tied_head(loaded).weight.detach().clone()
    untie_head(loaded)
    slot = EmbeddingSlot(loaded)
    slot.set_matrix(compress(torch.zeros(slot.shape) + torch.arange(slot.shape[1]), "mean", 1))
    assert slot.heads == [] and torch.equal(loaded.get_submodule(tied).weight, before)


@pytest.mark.parametrize("name", ["bert", "electra", "deberta_v2", "llama_tied", "gpt2"])
def test_a_study_makes_a_checkpoint_of_it(name, tmp_path, wordpiece):
    tiny(name).save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    entry = {
        "format": "transformers",
        "path": str(tmp_path / "model"),
        "causal": name in ("llama_tied", "gpt2"),
    }
    prepare_checkpoint(model_entry(**entry), {}, [], tmp_path / "checkpoint")
    about = read_metadata(tmp_path / "checkpoint")
    weight = tiny(name).get_input_embeddings().weight
    assert about["shape"] == list(weight.shape) and about["tied_head"] == entry["causal"]
    assert torch.equal(embedding_matrix(tmp_path / "checkpoint"), weight)
