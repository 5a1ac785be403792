"""A study that runs in seconds on data of its own: no test that uses it needs a network."""

import bz2
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from random import Random

import yaml
from transformers import BertConfig, BertModel, set_seed

from embpress.files import sha256_of

from .conftest import wordpiece_tokenizer

ROOT = Path(__file__).parents[1]
WORDS = ["a", "b", "cat", "dog", "cats", "dogs", "the", "abc", "cab", "bab"]
TUNE = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
STUDY = {
    "study": "tiny",
    "seeds": [0],
    "ratios": [2],
    "methods": {"identity": {}, "svd": {}},
    "models": {"bert": {"label": "BERT", "format": "transformers", "path": "model"}},
    "corpora": {
        "texts": {
            "format": "wikipedia",
            "packages": ["tiny-texts"],
            "path": "tiny_texts/wiki.xml.bz2",
        }
    },
    "tasks": {
        "animals": {
            "label": "Animals",
            "kind": "classification",
            "protocol": "finetune_then_compress",
            "model": "bert",
            "corpus": "texts",
            "max_length": 16,
            "finetune": TUNE,
            "test_examples": 16,
            "data": {
                "train": "animals.csv",
                "test": "animals.csv",
                "format": "csv",
                "text": "text",
                "label": "animal",
                "labels": ["cat", "dog"],
            },
        },
    },
}


def write_study(folder: Path) -> None:
    """Put study.yaml, its model, its rows, and the wheel with its corpus, in wheels/.

    Into a folder.
    """
    set_seed(0)
    tokenizer = wordpiece_tokenizer()
    sizes = dict(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(BertConfig(**sizes)).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    random = Random(0)
    texts = [" ".join(random.choices(WORDS, k=10)) for _ in range(60)]
    rows = "".join(f"{text},{'cat' if text.count('a') > 9 else 'dog'}\n" for text in texts)
    (folder / "animals.csv").write_text("text,animal\n" + rows)
    pages = "".join(f"<page><text>{text}</text></page>" for text in texts)
    wheel = folder / "wheels" / "tiny_texts-1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(
            "tiny_texts/wiki.xml.bz2", bz2.compress(f"<mediawiki>{pages}</mediawiki>".encode())
        )
        archive.writestr(
            "tiny_texts-1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-texts\nVersion: 1\n",
        )
        archive.writestr("tiny_texts-1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_texts-1.dist-info/RECORD", "")
    study = {"packages": {"tiny-texts": {"version": "1", "sha256": sha256_of(wheel)}}} | STUDY
    (folder / "study.yaml").write_text(yaml.safe_dump(study))


def start(
    folder: Path,
    *arguments: str,
    cores: int = 2,
    snakefile: Path = ROOT / "Snakefile",
    terminal: str = "full",
) -> subprocess.Popen[str]:
    """Start the workflow in a folder that `write_study` filled, wheels taken from there."""
    command = workflow_command(*arguments, cores=cores, snakefile=snakefile)
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return subprocess.Popen(command, cwd=folder, env=workflow_environment(terminal), **pipes)


def workflow_command(
    *arguments: str, cores: int = 2, snakefile: Path = ROOT / "Snakefile"
) -> list[str]:
    """The command that runs the workflow on study.yaml of the working directory."""
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores)]
    return [*command, "--snakefile", str(snakefile), *arguments, "--configfile", "study.yaml"]


def workflow_environment(terminal: str) -> dict[str, str]:
    """Environment variables of a run: wheels come from the folder, and what the terminal shows."""
    only_here = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "wheels", "PIP_CACHE_DIR": "cache"}
    return {**os.environ, **only_here, "EMBPRESS_TERMINAL": terminal}


def finish(run: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status of a run and all that it printed."""
    output, _ = run.communicate(timeout=900)  # machines may be busy
    return run.returncode, output
