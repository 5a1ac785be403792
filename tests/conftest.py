"""Small real objects that many tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

# Tests run side by side, one a core: threads of their own would only wait for each other.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
# Tests read Snakemake's own lines about jobs.
os.environ["EMBPRESS_TERMINAL"] = "full"

import pytest
import torch
import yaml
from pandas import DataFrame
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from embpress.analysis.scores import Labels
from embpress.models.embedding import write_metadata

from .fake_study import fake_labels, fake_scores
from .second_device import HARDWARE, TensorFunction, second_device

torch.set_num_threads(1)
# Autograd counts the devices once, when a process first computes gradients.
second_device()

ROOT = Path(__file__).parents[1]
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [*SPECIALS, "a", "b", "c", "##a", "##b", "##c", "cat", "dog", "##s", "the", ",", "."]


@pytest.fixture
def second() -> Iterator[torch.device]:
    """A device other than the CPU. A module that moves to it keeps its parameters, as on a GPU."""
    if HARDWARE:
        yield torch.empty(0, device=HARDWARE).device
        return
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    with TensorFunction():
        yield second_device()
    torch.__future__.set_swap_module_params_on_conversion(swaps)


@pytest.fixture
def imitated(second) -> torch.device:
    """The device without hardware, for tests of what it finds."""
    if HARDWARE:
        pytest.skip("tests the device without hardware")
    return second


@pytest.fixture
def labels() -> Labels:
    """Of the made-up study."""
    return fake_labels()


@pytest.fixture
def scores() -> DataFrame:
    """Of the made-up study, one seed."""
    return fake_scores()


def wordpiece_tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer like BERT's, over PIECES."""
    backend = Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(names, SPECIALS)))


@pytest.fixture
def wordpiece() -> PreTrainedTokenizerFast:
    """A tokenizer of a test's own."""
    return wordpiece_tokenizer()


@pytest.fixture
def bert() -> BertModel:
    """A tiny random BERT with one row a piece of PIECES."""
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    return BertModel(BertConfig(**sizes)).eval()


@pytest.fixture
def default_config() -> dict:
    """The default study as YAML holds it."""
    return yaml.safe_load((ROOT / "config.yaml").read_text())


@pytest.fixture
def base(tmp_path, bert, wordpiece):
    """A described checkpoint without head."""
    bert.save_pretrained(tmp_path / "base")
    wordpiece.save_pretrained(tmp_path / "base")
    write_metadata(bert, wordpiece.all_special_ids, tmp_path / "base", {})
    return tmp_path / "base"
