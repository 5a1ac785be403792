"""Every command and example of the documentation runs, or COMMANDS names what runs instead.

A command that is missing from COMMANDS fails, and so does an entry that no document shows.
"""

import csv
import dataclasses
import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from embpress import methods
from embpress.analysis import scores

from .conftest import ROOT
from .doc_commands import COMMANDS, PYTHON_ELSEWHERE, SHORTER, Elsewhere, Made, Planned, Run
from .fake_study import fake_labels, fake_scores

TOP_LEVEL = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")
DOCUMENTS = [*(ROOT / name for name in TOP_LEVEL), *sorted((ROOT / "docs").rglob("*.md"))]
EXTEND = ROOT / "docs/guides/extend.md"


def blocks(document, language):
    """Fenced blocks of a language."""
    return re.findall(
        rf"^```{language}\n(.*?)^```",
        document.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )


def commands(document):
    """Commands of the sh blocks: broken lines joined, comments cut."""
    joined = "\n".join(blocks(document, "sh")).replace("\\\n", " ")
    return [
        command
        for line in joined.splitlines()
        if (command := re.sub(r"(^|\s)#.*", "", line).strip())
    ]


def new_commands(document):
    """Commands that no earlier document shows."""
    earlier = DOCUMENTS[: DOCUMENTS.index(document)]
    shown = {command for other in earlier for command in commands(other)}
    return [command for command in commands(document) if command not in shown]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A copy of the repository with a model in DIR, scores in results, and the examples of docs."""
    folder = tmp_path_factory.mktemp("docs")
    for name in ("embpress", "workflow", "profiles", "studies", "tests", "bench", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "Snakefile",
        "config.yaml",
        "Makefile",
        "pyproject.toml",
        "requirements.txt",
        "requirements-dev.txt",
        "constraints.txt",
        "hashes.txt",
        "hashes-dev.txt",
    ):
        shutil.copyfile(ROOT / name, folder / name)
    _write_model(folder / "DIR")
    (folder / "results").mkdir()
    scores.write_scores(fake_scores(), folder / "results/scores.csv")
    (folder / "results/labels.json").write_text(json.dumps(dataclasses.asdict(fake_labels())))
    words = PIECES[5:]
    (folder / "counts.tsv").write_text(
        "".join(f"{word}\t{1000 // (i + 1)}\n" for i, word in enumerate(words))
    )
    (folder / "texts.txt").write_text("the cat\nthe ticket w1 w2\n")
    with (folder / "tickets.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [["subject", "urgent"], *([f"ticket {i}", "yes" if i % 2 else "no"] for i in range(12))]
        )
    _write_examples(folder)
    return folder


PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "cat",
    "ticket",
    *(f"w{i}" for i in range(3992)),
]


def _write_model(folder):
    """A small BERT whose embedding takes 2 MB, as a sentence-transformers folder."""
    # Imported here, because it takes seconds, and every worker reads this file.
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    torch.manual_seed(0)
    sizes = {
        "vocab_size": len(PIECES),
        "hidden_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    BertModel(BertConfig(**sizes, intermediate_size=32)).save_pretrained(folder)
    backend = Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(names, PIECES))).save_pretrained(
        folder
    )
    modules = [Transformer(str(folder)), Pooling(128, "mean")]
    SentenceTransformer(
        modules=modules, device="cpu", prompts={"query": "the ticket"}
    ).save_pretrained(str(folder), create_model_card=False)


def _write_examples(folder):
    """Write the method and the parts of own.yaml that docs/guides/extend.md shows."""
    own = {}
    for text in blocks(EXTEND, "yaml"):
        assert text.startswith("# own.yaml: ")
        own |= yaml.safe_load(text)
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    for text in blocks(EXTEND, "python"):
        (folder / re.match(r"# (\S+)\n", text)[1]).write_text(text)


def run(words, folder, library=ROOT):
    """Run a command with this Python in a folder.

    The library is that of the repository, whose compiled loops are cached, or the folder's copy.
    """
    words = [str(word) for word in words]
    if words[0] in ("embpress", "snakemake"):
        words = [sys.executable, "-P", "-m", *words]
    elif words[0] == "python":
        words[:1] = [sys.executable, "-P"]
    environment = os.environ | {"PYTHONPATH": str(library), "COLUMNS": "120"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, " ".join(words) + "\n" + done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_command_is_known_and_shown():
    shown = {command for document in DOCUMENTS for command in commands(document)}
    assert not shown - COMMANDS.keys(), "add these to COMMANDS"
    assert not COMMANDS.keys() - shown, "no document shows these"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_commands_that_run(document, workplace):
    """Run them in the order of the document, because one may read what another wrote.

    Each is run once, for the first document that shows it.
    """
    for command in new_commands(document):
        way = COMMANDS.get(command)
        if isinstance(way, Run):
            for left in ("DIR-small", "DIR-pca"):
                if f"--out {left}" in command:
                    shutil.rmtree(workplace / left, ignore_errors=True)
            # The copy has the example method of extend.md.
            library = workplace if document == EXTEND or "pca" in command else ROOT
            words = shlex.split(way.instead or command)
            assert way.prints in run(words, workplace, library), command


@pytest.mark.parametrize("command", [c for c, way in COMMANDS.items() if isinstance(way, Made)])
def test_targets_of_make_run_what_is_said(command, workplace):
    words = shlex.split(command) if command.startswith("make") else ["make", "results"]
    assert COMMANDS[command].line in run([*words, "--dry-run"], workplace)


def study_of(command):
    """Return the config that a snakemake command names."""
    words = shlex.split(command)
    return words[words.index("--configfile") + 1] if "--configfile" in words else "config.yaml"


@pytest.mark.parametrize(
    "study", sorted({study_of(c) for c, way in COMMANDS.items() if isinstance(way, Planned)})
)
def test_studies_are_planned(study, workplace, tmp_path):
    """All commands of one study share one plan, because planning takes seconds."""
    planned = {
        c: way.rule
        for c, way in COMMANDS.items()
        if isinstance(way, Planned) and study_of(c) == study
    }
    targets = {"all"} | {
        word for command in planned for word in shlex.split(command) if word.startswith("results/")
    }
    if study == "own.yaml":
        for name in ("DIR", "tickets.csv"):
            (tmp_path / name).symlink_to(workplace / name)
    words = [
        "snakemake",
        *sorted(targets),
        "--snakefile",
        workplace / "Snakefile",
        "--directory",
        tmp_path,
    ]
    output = run([*words, "--configfile", workplace / study, "--dry-run"], workplace, workplace)
    for command, rule in planned.items():
        assert re.search(rf"^{rule} +\d+$", output, re.MULTILINE), command


@pytest.mark.parametrize(
    "command", [c for c, way in COMMANDS.items() if isinstance(way, Elsewhere)]
)
def test_what_another_test_runs_is_there(command):
    assert COMMANDS[command].test in (ROOT / COMMANDS[command].file).read_text()


@pytest.mark.parametrize(
    "document", [d for d in DOCUMENTS if d != EXTEND], ids=lambda d: str(d.relative_to(ROOT))
)
def test_python_examples_run(document, workplace):
    """Run the examples of a page in one process, one after the other.

    Those of extend.md are files, which the commands above use.
    """
    examples = []
    for text in blocks(document, "python"):
        other = next((way for part, way in PYTHON_ELSEWHERE.items() if part in text), None)
        if other:
            assert other.test in (ROOT / other.file).read_text()
            continue
        for old, new in SHORTER.items():
            text = text.replace(old, new)
        examples.append(text)
    if not (workplace / "DIR-small").exists():
        run(
            shlex.split("embpress compress --model DIR --method integer --ratio 7 --out DIR-small"),
            workplace,
        )
    if examples:
        run(["python", "-c", "\n".join(examples)], workplace)


def code_paths(document):
    """Paths of this repository that a document names in code spans."""
    folders = "embpress|workflow|tests|studies|envs|profiles|bench|docs"
    spans = re.findall(r"`([^`\n]+)`", document.read_text(encoding="utf-8"))
    return {span for span in spans if re.fullmatch(rf"(?:{folders})/[\w./+-]*", span)}


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if d.name != "CHANGELOG.md"],  # which also names removed files
    ids=lambda d: str(d.relative_to(ROOT)),
)
def test_paths_in_code_spans_exist(document):
    for path in code_paths(document):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target, _, anchor in re.findall(
        r"\]\(([^)#]*)(#([^)]+))?\)", document.read_text(encoding="utf-8")
    ):
        if "://" in target:
            continue
        page = document.parent / target if target else document
        assert page.exists(), target
        if anchor:
            assert anchor in anchors(page), f"{target}#{anchor}"


def anchors(page):
    """Anchors of the headings of a Markdown page, as GitHub builds them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short_and_starts_with_the_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 100
    first_screen = "\n".join(lines[:40])
    for command in ("make results", "make test", "embpress compress", "-k pca"):
        assert command in first_screen


def test_the_index_lists_every_page():
    index = ROOT / "docs/README.md"
    linked = {
        (index.parent / target).resolve()
        for target in re.findall(r"\]\(([^)#]+)", index.read_text(encoding="utf-8"))
    }
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= linked


def test_the_reference_names_every_method_and_alias():
    table = (ROOT / "docs/reference/methods.md").read_text(encoding="utf-8")
    known = {*methods.names(), *methods.aliases(), methods.TRIMMING}
    assert known <= set(re.findall("`([a-z0-9_]+)`", table.split("## Settings")[0]))
