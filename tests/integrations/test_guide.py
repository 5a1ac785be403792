"""The guide's way from a hub id to an encoder, an ONNX file and a score, as it is written there."""

import importlib.util
import re
import shlex

import huggingface_hub
import pytest
import torch
from transformers import BertConfig, BertModel

from embpress.cli import main
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("sentence-transformers")
COMMIT = "0" * 40


def run_guide(folder, workplace, monkeypatch):
    """Run the guide's section with a folder in place of the hub's model, and return its variables.

    The hub client's cache holds the model, and a mock task stands for mteb's, where mteb is
    installed.
    """
    page = (ROOT / "docs/guides/compress.md").read_text(encoding="utf-8")
    section = page.split("## From a hub id to")[1].split("\n## ")[0]
    commands = re.findall(r"^embpress (.*)$", section, re.MULTILINE)
    encoding, scoring = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    name = shlex.split(commands[0])[2]
    cached = workplace / "hub" / f"models--{name.replace('/', '--')}"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs/main").write_text(COMMIT)
    (cached / "snapshots").mkdir()
    (cached / "snapshots" / COMMIT).symlink_to(folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(workplace / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(workplace)
    for command in commands:
        assert main(shlex.split(command)) == 0, command
    found = {}
    exec(compile(encoding, "guide", "exec"), found)
    if importlib.util.find_spec("mteb"):
        import mteb
        from mteb.mocks.mock_tasks import MockSTSTask

        monkeypatch.setattr(mteb, "get_tasks", lambda tasks: [MockSTSTask()])
        monkeypatch.setenv("MTEB_CACHE", str(workplace / "cache"))
        exec(compile(scoring, "guide", "exec"), found)
    return found


def check_guide(found, workplace):
    """The file is there, and what was computed is a cosine and a score."""
    assert (workplace / "minilm.onnx").stat().st_size > 0
    assert -1 <= float(found["cosine"]) <= 1
    if "score" in found:
        assert "10" in found["meta"].name and -1 <= found["score"] <= 1


def test_the_guide_runs(tmp_path, wordpiece, monkeypatch):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    torch.manual_seed(0)
    sizes = dict(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    BertModel(BertConfig(vocab_size=1500, **sizes)).save_pretrained(tmp_path / "bert")
    wordpiece.save_pretrained(tmp_path / "bert")
    modules = [Transformer(str(tmp_path / "bert")), Pooling(32, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(tmp_path / "dense"))
    check_guide(run_guide(tmp_path / "dense", tmp_path, monkeypatch), tmp_path)
