"""Models in studies as people have them: cases from public reports, each for a kind of fault."""

import json

import pytest
import torch
import transformers

from embpress.data.models import prepare_checkpoint
from embpress.errors import UserError
from embpress.models.loading import load_model
from embpress.models.positions import max_positions
from embpress.models.tokenization import load_tokenizer
from embpress.pipeline.model_checks import check_tasks
from embpress.study.model_entry import ModelEntry
from embpress.tasks._encoding import sentence_embeddings
from tests.conftest import PIECES, wordpiece_tokenizer
from tests.task_entries import complete
from tests.zoo import BART, SMALL, T5, tiny

VOCABULARY = {"vocab_size": len(PIECES)}
TEXT = SMALL | VOCABULARY | dict(max_position_embeddings=16, pad_token_id=0, bos_token_id=2)
TEXT |= dict(eos_token_id=3)
IMAGES = {k: n for k, n in SMALL.items() if k != "vocab_size"} | dict(image_size=8, patch_size=4)


def prepared(tmp_path, model, tokenizer=None, causal=False):
    """The checkpoint that a study makes of a model and a tokenizer."""
    source = tmp_path / "source"
    model.eval().save_pretrained(source)
    (tokenizer or wordpiece_tokenizer()).save_pretrained(source)
    entry = ModelEntry(label="m", format="transformers", path=str(source), causal=causal)
    prepare_checkpoint(entry, {}, [], tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def embed(checkpoint):
    """Sentence embeddings of two texts of different lengths."""
    model = load_model(checkpoint, "encoder")
    texts = ["cat", "the cats " * 40]
    return sentence_embeddings(model, load_tokenizer(checkpoint), texts, lambda line: None)


def test_gpt2_without_a_pad_token_reads_a_batch(tmp_path):
    tokenizer = wordpiece_tokenizer()
    tokenizer.pad_token = None
    tokenizer.eos_token = "[SEP]"
    checkpoint = prepared(tmp_path, tiny("gpt2", **VOCABULARY), tokenizer)
    model, tokenizer = load_model(checkpoint, "classifier"), load_tokenizer(checkpoint)
    assert tokenizer.pad_token == "[SEP]"
    batch = tokenizer(["the cat", "cat"], padding=True, return_tensors="pt")
    alone = tokenizer(["cat"], return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
        torch.testing.assert_close(logits[1:], model(**alone).logits)


def test_generation_settings_that_transformers_does_not_write(tmp_path):
    model = tiny("gpt2", **VOCABULARY)
    model.generation_config.temperature = 0.7
    (tmp_path / "source").mkdir()
    model.generation_config.to_json_file(tmp_path / "settings.json")
    model.generation_config.temperature = None
    model.save_pretrained(tmp_path / "source")
    (tmp_path / "settings.json").replace(tmp_path / "source/generation_config.json")
    wordpiece_tokenizer().save_pretrained(tmp_path / "source")
    path = str(tmp_path / "source")
    entry = ModelEntry(label="m", format="transformers", path=path, causal=True)
    prepare_checkpoint(entry, {}, [], tmp_path / "checkpoint")
    written = json.loads((tmp_path / "checkpoint/generation_config.json").read_text())
    assert written["temperature"] == 0.7


def test_a_token_without_a_row_is_refused_before_a_task_reads_it(tmp_path):
    tokenizer = wordpiece_tokenizer()
    tokenizer.add_tokens(["<file>"])
    with pytest.raises(UserError, match=r"<file>.*resize the model"):
        prepared(tmp_path, tiny("bert", **VOCABULARY), tokenizer)
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(
    ("name", "limit"),
    [("bert", 16), ("roberta_mlm", 14), ("bart", 16), ("gpt2", 16), ("clip_text", 16)],
)
def test_the_number_of_positions_is_the_longest_input_that_runs(name, limit):
    model = tiny(name)
    assert max_positions(model) == limit
    ids = torch.full((1, limit), 5)
    with torch.no_grad():
        model(input_ids=ids)
        with pytest.raises((IndexError, RuntimeError, ValueError)):
            model(input_ids=torch.full((1, limit + 1), 5))


@pytest.mark.parametrize("name", ["t5", "llama_tied", "modernbert_mlm"])
def test_relative_positions_have_no_limit(name):
    assert max_positions(tiny(name)) is None


def test_a_task_longer_than_the_positions_is_refused_before_the_run(tmp_path):
    checkpoint = prepared(tmp_path, tiny("bert", **VOCABULARY))
    data = {"text": "text", "label": "label", "test": "t.tsv", "train": "u.tsv", "format": "tsv"}
    entry = {"data": data | {"labels": ["a", "b"]}}
    task = complete("classification", entry)
    check_tasks(checkpoint, {"short": task | {"max_length": 16}})
    with pytest.raises(UserError, match=r"tasks\.long.*max_length.*17.*16"):
        check_tasks(checkpoint, {"long": task | {"max_length": 17}})


T5_SIZES = T5 | VOCABULARY
CLIP_CONFIG = dict(text_config=TEXT, vision_config=IMAGES, projection_dim=8)
ENCODERS = {
    "T5 encoder": lambda: transformers.T5EncoderModel(transformers.T5Config(**T5_SIZES)),
    "T5": lambda: transformers.T5ForConditionalGeneration(transformers.T5Config(**T5_SIZES)),
    "BART": lambda: transformers.BartModel(transformers.BartConfig(**BART | VOCABULARY)),
    "CLIP text": lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)),
    "CLIP": lambda: transformers.CLIPModel(transformers.CLIPConfig(**CLIP_CONFIG)),
}


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_text_encoder_of_any_model_embeds_sentences(tmp_path, kind):
    torch.manual_seed(0)
    checkpoint = prepared(tmp_path, ENCODERS[kind]())
    found = embed(checkpoint)
    assert found.shape == (2, 16) and found.isfinite().all()


@pytest.mark.parametrize("kind", ["T5 encoder", "CLIP text", "CLIP"])
def test_a_head_that_transformers_lacks_is_refused_before_the_run(tmp_path, kind):
    checkpoint = prepared(tmp_path, ENCODERS[kind]())
    data = {"text": "text", "label": "label", "test": "t.tsv", "train": "u.tsv", "format": "tsv"}
    task = complete("classification", {"data": data | {"labels": ["a", "b"]}, "max_length": 8})
    with pytest.raises(UserError, match=r"tasks\.mood.*SequenceClassification.*another model"):
        check_tasks(checkpoint, {"mood": task})


def test_t5_starts_its_decoder_with_padding(tmp_path):
    checkpoint = prepared(tmp_path, ENCODERS["T5"]())
    model, tokenizer = load_model(checkpoint, "classifier"), load_tokenizer(checkpoint)
    tokenizer.eos_token = "[SEP]"
    model.config.eos_token_id = tokenizer.eos_token_id
    with torch.no_grad():
        batch = tokenizer(["the cat", "cat"], padding=True, return_tensors="pt")
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    assert logits.shape[0] == 2 and model.config.decoder_start_token_id == 0
