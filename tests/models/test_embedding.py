import pytest
import torch
from transformers import BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from embpress.errors import UserError
from embpress.formats.dense import DenseRows
from embpress.formats.low_rank import LowRank
from embpress.methods import compress
from embpress.models.checkpoints import embedding_matrix, read_metadata
from embpress.models.embedding import (
    EmbeddingSlot,
    find_embedding,
    tied_head,
    untie_head,
    write_metadata,
)
from embpress.models.loading import load_model

IDS = torch.tensor([[3, 5, 5, 9], [1, 0, 2, 3]])


def llama(tied):
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=12,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    return LlamaForCausalLM(
        LlamaConfig(**sizes, num_key_value_heads=2, tie_word_embeddings=tied)
    ).eval()


def test_dense_rows_in_the_slot_change_nothing(bert):
    wanted = bert(input_ids=IDS).last_hidden_state
    EmbeddingSlot(bert).set_matrix(
        DenseRows(
            tuple(bert.embeddings.word_embeddings.weight.shape),
            find_embedding(bert)[1].weight.detach(),
        )
    )
    torch.testing.assert_close(bert(input_ids=IDS).last_hidden_state, wanted)


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_runs_on_the_compressed_matrix_and_an_untied_one_does_not(tied):
    model = llama(tied)
    assert (tied_head(model) is not None) == tied
    weight = find_embedding(model)[1].weight.detach().clone()
    compressed = compress(weight, "svd", 1.5)
    # The same by hand: the decoded matrix written into the dense weights.
    by_hand = llama(tied)
    with torch.no_grad():
        by_hand.get_input_embeddings().weight.copy_(compressed.dense())
    EmbeddingSlot(model).set_matrix(compressed)
    torch.testing.assert_close(
        model(input_ids=IDS).logits, by_hand(input_ids=IDS).logits, rtol=1e-4, atol=1e-5
    )


def test_matrices_are_swapped_one_after_another():
    model = llama(True)
    weight = find_embedding(model)[1].weight.detach().clone()
    wanted = model(input_ids=IDS).logits
    slot = EmbeddingSlot(model)
    slot.set_matrix(compress(weight, "mean", 1))
    assert not torch.allclose(model(input_ids=IDS).logits, wanted, atol=1e-3)
    slot.set_matrix(DenseRows((12, 16), weight))
    torch.testing.assert_close(model(input_ids=IDS).logits, wanted)


def test_only_the_rows_of_a_batch_are_decoded(bert):
    """A full read raises: the lookup must never build the dense matrix."""

    class NoFullRead(LowRank):
        def rows(self, ids):
            assert len(ids) < self.shape[0], "the whole table was decoded"
            return super().rows(ids)

        def dense(self):
            raise AssertionError("the whole table was decoded")

    slot = EmbeddingSlot(bert)
    slot.set_matrix(NoFullRead(slot.shape, rank=2))
    assert bert(input_ids=IDS).last_hidden_state.shape == (2, 4, 16)


def test_wrong_shape_is_named(bert):
    with pytest.raises(UserError, match=r"embedding has shape \(17, 16\).*\(3, 16\)"):
        EmbeddingSlot(bert).set_matrix(DenseRows((3, 16)))


def test_metadata_and_matrix_come_from_files_alone(tmp_path, bert):
    model = llama(True)
    for name, some in (
        ("bert", bert),
        ("llama", model),
        (
            "gpt2",
            GPT2LMHeadModel(
                GPT2Config(vocab_size=12, n_positions=8, n_embd=8, n_layer=1, n_head=2)
            ),
        ),
    ):
        some.save_pretrained(tmp_path / name)
        write_metadata(some, [0, 2, 2], tmp_path / name, {"package": "x"})
        about = read_metadata(tmp_path / name)
        assert torch.equal(embedding_matrix(tmp_path / name), find_embedding(some)[1].weight)
        assert about["special_ids"] == [0, 2] and about["tied_head"] == (name != "bert")
        assert about["parameters"] == sum(p.numel() for p in some.parameters())


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(UserError, match="no model that loads as encoder"):
        load_model(tmp_path, "encoder")


def test_a_model_without_embedding_is_named(bert, monkeypatch):
    monkeypatch.setattr(BertModel, "get_input_embeddings", lambda self: None)
    with pytest.raises(UserError, match="BertModel has no input embedding"):
        find_embedding(bert)


def test_an_untied_head_stays_dense():
    model = llama(True)
    wanted_head = find_embedding(model)[1].weight.detach().clone()
    untie_head(model)
    compressed = compress(wanted_head, "svd", 1.5)
    EmbeddingSlot(model).set_matrix(compressed)
    assert torch.equal(model.get_output_embeddings().weight, wanted_head)
    by_hand = llama(False)
    by_hand.load_state_dict(llama(True).state_dict())
    with torch.no_grad():
        by_hand.get_input_embeddings().weight.copy_(compressed.dense())
        by_hand.get_output_embeddings().weight.copy_(wanted_head)
    torch.testing.assert_close(
        model(input_ids=IDS).logits, by_hand(input_ids=IDS).logits, rtol=1e-4, atol=1e-5
    )
