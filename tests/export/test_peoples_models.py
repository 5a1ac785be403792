"""Models as people have them: cases from public reports, each for a kind of fault."""

import json
import os
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from transformers.utils import logging

from embpress import compress_model, inspect, load
from embpress.errors import UserError
from embpress.export.exported_model import TRAINER_INDEX
from embpress.models.embedding import OTHER_WEIGHTS
from embpress.models.quiet import quiet_transformers
from tests.zoo import BERT, SMALL, V, outputs, tiny


def edit_json(path, **changes):
    """Change keys of a JSON file."""
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(value | changes))


def test_an_output_folder_named_by_a_dot_is_written_whole(tmp_path, monkeypatch):
    tiny("bert").save_pretrained(tmp_path / "dense")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    for method in ("svd", "integer"):
        compress_model("../dense", ".", method, 1.5)
        assert inspect(tmp_path / "out").method == method
        assert "embpress.json" in os.listdir(".")  # the shell's folder is still this one
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dense", "out"]


def test_the_model_in_the_output_folder_is_never_deleted(tmp_path, monkeypatch):
    tiny("bert").save_pretrained(tmp_path / "dense")
    before = sorted(p.name for p in (tmp_path / "dense").iterdir())
    monkeypatch.chdir(tmp_path / "dense")
    with pytest.raises(UserError, match="another folder"):
        compress_model(".", ".", "svd", 1.5)
    assert sorted(p.name for p in (tmp_path / "dense").iterdir()) == before


def test_a_config_and_a_tokenizer_config_of_more_than_a_megabyte(tmp_path, wordpiece, bert):
    folder = tmp_path / "dense"
    bert.save_pretrained(folder)
    wordpiece.save_pretrained(folder)
    labels = {str(i): "a label that is long " * 9 + str(i) for i in range(6000)}
    edit_json(
        folder / "config.json", id2label=labels, label2id={v: int(k) for k, v in labels.items()}
    )
    edit_json(folder / "tokenizer_config.json", note="x" * 1_100_000)
    (tmp_path / "counts.tsv").write_text("cat\t5\n")  # counts of tokens need the tokenizer
    compress_model(folder, tmp_path / "out", "svd", 1.5, counts=tmp_path / "counts.tsv")
    assert load(tmp_path / "out").config.id2label[5999].endswith(" 5999")
    assert inspect(tmp_path / "out").architecture == "BertModel"


@pytest.mark.parametrize("name, changes", [("llama_untied", {}), ("t5", {}), ("bert_mlm", {})])
def test_a_config_that_ties_a_head_which_the_checkpoint_holds(tmp_path, name, changes):
    model = tiny(name, **changes)
    head = model.get_output_embeddings()
    head.weight = nn.Parameter(head.weight.detach() + 1)
    model.save_pretrained(tmp_path / "dense")
    edit_json(tmp_path / "dense/config.json", tie_word_embeddings=True)
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    torch.testing.assert_close(outputs(load(tmp_path / "out")), outputs(model))


def test_generation_settings_that_transformers_reads_but_does_not_write(tmp_path):
    tiny("gpt2").save_pretrained(tmp_path / "dense")
    edit_json(tmp_path / "dense/generation_config.json", temperature=0.7)
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    load(tmp_path / "out").save_pretrained(tmp_path / "again")
    assert load(tmp_path / "again").generation_config.temperature == 0.7


def test_files_of_any_tokenizer_are_kept_but_no_weights_code_or_pickles(tmp_path):
    folder = tmp_path / "dense"
    tiny("bert").save_pretrained(folder)
    kept = ("source.spm", "target_vocab.json", "emoji.json", "dict.txt", "word_shape.json")
    kept += ("prophetnet.tokenizer", "entity_vocab.json", "README.md", "LICENSE")
    for name in kept:
        (folder / name).write_text(name)
    left = ("optimizer.pt", "modeling.py", "pytorch_model.bin", "rust_model.ot", ".secret")
    for name in (*left, "model.safetensors.index.json"):
        (folder / name).write_text(name)
    (folder / "vocab.dat").write_bytes(b"\x80\x04\x95 a pickle")
    (folder / "words.model").write_bytes(b"PK\x03\x04 torch's zip file")
    compress_model(folder, tmp_path / "out", "svd", 1.5)
    written = {"config.json", OTHER_WEIGHTS, "matrix.safetensors", "matrix.json", "embpress.json"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*kept, *written}


def test_entities_of_luke_keep_their_ids(tmp_path):
    folder = tmp_path / "dense"
    tiny("roberta_mlm").save_pretrained(folder)
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5}
    entities = {"[MASK]": 0, "[UNK]": 1, "[PAD]": 2, "[MASK2]": 3, "Beyoncé": 4, "Rome": 5}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "entity_vocab.json").write_text(json.dumps(entities))
    edit_json(folder / "tokenizer_config.json", tokenizer_class="LukeTokenizer")
    compress_model(folder, tmp_path / "out", "svd", 1.5)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").entity_vocab == entities


def japanese_folder(folder):
    """A model with the tokenizer of Japanese BERT, which needs MeCab."""
    tiny("bert").save_pretrained(folder)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *map(chr, range(0x3041, 0x3053))]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    edit_json(
        folder / "tokenizer_config.json",
        tokenizer_class="BertJapaneseTokenizer",
        word_tokenizer_type="mecab",
        mecab_kwargs={"mecab_dic": "unidic_lite"},
    )
    return folder


def test_a_tokenizer_that_needs_a_missing_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fugashi", None)
    with pytest.raises(UserError, match="needs fugashi.*install"):
        compress_model(japanese_folder(tmp_path / "dense"), tmp_path / "out", "svd", 1.5)
    assert not (tmp_path / "out").exists()


def test_special_tokens_of_a_tokenizer_that_cannot_be_loaded_are_not_pruned(tmp_path):
    folder = tmp_path / "dense"
    model = tiny("bert", pad_token_id=None)
    model.save_pretrained(folder)
    special = {"content": "[SEP]", "special": True}
    edit_json(
        folder / "tokenizer_config.json",
        tokenizer_class="OwnTokenizer",
        auto_map={"AutoTokenizer": ["own.OwnTokenizer", None]},
        added_tokens_decoder={"20": special, "21": {"content": "x", "special": False}},
    )
    messages = []
    counts = torch.arange(V).flip(0)  # ids 20 to 22 are the rarest
    compress_model(folder, tmp_path / "out", "prune", 3, counts=counts, progress=messages.append)
    rows = load(tmp_path / "out").embedding_slot.matrix.dense()
    dense = model.get_input_embeddings().weight.detach()
    assert torch.equal(rows[20], dense[20]) and not torch.equal(rows[22], dense[22])
    assert any("OwnTokenizer" in line or "tokenizer" in line for line in messages)


class Rows(torch.utils.data.Dataset):
    """Eight rows to train a masked language model on."""

    def __len__(self):
        return 8

    def __getitem__(self, i):
        ids = torch.tensor([i, i + 1, i + 2])
        return {"input_ids": ids, "labels": ids}


def trainer_of(model, folder, **settings):
    """transformers' Trainer, unchanged."""
    arguments = TrainingArguments(
        str(folder),
        max_steps=4,
        eval_strategy="steps",
        eval_steps=1,
        save_steps=1,
        per_device_train_batch_size=2,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        **settings,
    )
    return Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows())


def test_trainer_ends_on_the_best_model_and_resumes(tmp_path, caplog):
    tiny("bert_mlm").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    # The largest loss counts as the best, which is not that of the last step.
    best = dict(load_best_model_at_end=True, metric_for_best_model="loss", greater_is_better=True)
    settings = dict(learning_rate=3.0, lr_scheduler_type="constant")
    model = load(tmp_path / "out")
    trainer = trainer_of(model, tmp_path / "run", **best, **settings)
    trainer.train()
    found = trainer.state.best_model_checkpoint
    assert not found.endswith("checkpoint-4")
    torch.testing.assert_close(outputs(model.eval()), outputs(load(found)), rtol=0, atol=0)
    assert "missing keys" not in caplog.text

    last = load(tmp_path / "run/checkpoint-4")
    resumed = load(tmp_path / "out")
    trainer_of(resumed, tmp_path / "run", **settings).train(
        resume_from_checkpoint=str(tmp_path / "run/checkpoint-2")
    )
    torch.testing.assert_close(outputs(resumed.eval()), outputs(last), rtol=0, atol=0)


def test_transformers_alone_does_not_load_a_checkpoint_of_trainer(tmp_path):
    tiny("llama_tied").save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
    model = load(tmp_path / "out")
    for _ in range(2):  # the second replaces the first
        model.save_pretrained(tmp_path / "checkpoint-5")
    assert (tmp_path / "checkpoint-5" / TRAINER_INDEX).exists()
    with pytest.raises(KeyError, match="metadata"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "checkpoint-5")
    assert not (tmp_path / "out" / TRAINER_INDEX).exists()


def test_loading_leaves_the_settings_of_transformers(tmp_path):
    tiny("bert").save_pretrained(tmp_path / "dense")
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    try:
        logging.set_verbosity_info()
        logging.enable_progress_bar()
        compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
        load(tmp_path / "out")
        assert logging.get_verbosity() == logging.INFO and logging.is_progress_bar_enabled()
        with quiet_transformers():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()
    finally:
        logging.set_verbosity(before[0])
        if not before[1]:
            logging.disable_progress_bar()


def test_weights_keep_their_type_whatever_the_config_says(tmp_path):
    model = tiny("llama_untied")
    with torch.no_grad():
        model.lm_head.weight[0] = 1e6  # overflows in float16
    model.save_pretrained(tmp_path / "dense")
    edit_json(tmp_path / "dense/config.json", dtype="float16")
    done = compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    assert done.model_before == sum(p.nbytes for p in model.parameters())
    dense = load_file(tmp_path / "dense/model.safetensors")
    for name, weight in load_file(tmp_path / "out" / OTHER_WEIGHTS).items():
        assert torch.equal(weight, dense[name]) and weight.dtype == dense[name].dtype
    torch.testing.assert_close(outputs(load(tmp_path / "out")), outputs(model))


TEXT = SMALL | dict(max_position_embeddings=16, pad_token_id=0, bos_token_id=1, eos_token_id=2)
IMAGES = {k: n for k, n in SMALL.items() if k != "vocab_size"} | dict(image_size=8, patch_size=4)


def test_the_text_embedding_of_a_model_of_text_and_images(tmp_path):
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=IMAGES, projection_dim=8)
    torch.manual_seed(0)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "dense")
    compress_model(tmp_path / "dense", tmp_path / "out", "identity", 1)
    inputs = {
        "input_ids": torch.tensor([[1, 5, 2], [1, 7, 2]]),
        "pixel_values": torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)),
    }
    with torch.no_grad():
        found, dense = load(tmp_path / "out")(**inputs), model(**inputs)
    torch.testing.assert_close(found.logits_per_text, dense.logits_per_text)
    assert inspect(tmp_path / "out").shape == (V, 16)


def test_an_embedding_that_quantizes_itself_is_refused_by_its_name(tmp_path):
    transformers.IBertModel(transformers.IBertConfig(**BERT)).save_pretrained(tmp_path / "dense")
    with pytest.raises(UserError, match="QuantEmbedding.*cannot be compressed"):
        compress_model(tmp_path / "dense", tmp_path / "out", "svd", 1.5)
