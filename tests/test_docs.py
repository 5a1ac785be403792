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
from .fake_study import fake_labels, fake_scores

TOP_LEVEL = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md")
DOCUMENTS = [*(ROOT / name for name in TOP_LEVEL), *sorted((ROOT / "docs").rglob("*.md"))]
EXTEND = ROOT / "docs/guides/extend.md"
SMOKE = "tests/integration/test_smoke.py"
CONDA = "tests/integration/test_conda.py"
SLURM = "tests/integration/test_slurm.py"
ASKED = "test_what_the_page_asks_slurm_is_answered"


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


@dataclasses.dataclass
class Run:
    """Run the command, or `instead` if given. It must exit with 0 and print `prints`."""

    instead: str = ""
    prints: str = ""


@dataclasses.dataclass
class Planned:
    """Plan a study that takes too long to run (`-n`). The plan must contain this rule.

    The smoke study runs every rule.
    """

    rule: str


@dataclasses.dataclass
class Made:
    """A target of make: `make -n` must print this line, which other tests or the CI run."""

    line: str


@dataclasses.dataclass
class Elsewhere:
    """Another test runs the command: its name and file."""

    file: str
    test: str


COMMANDS = {
    "pip install '.[faiss]'": Elsewhere(
        "tests/test_installation.py", "test_an_extra_brings_what_its_modules_import"
    ),
    "make results": Made("/snakemake --cores"),
    "make report": Made("/snakemake --cores all results/report.html"),
    "make paper": Made("/snakemake --cores all results/paper/paper.pdf"),
    "make findings": Made("/python -m bench.findings.pages"),
    "python -m bench.findings.keep results": Elsewhere(
        "tests/test_bench_findings.py", "test_a_finished_study_is_kept"
    ),
    "make test": Made("/python -m pytest -n auto"),  # which the CI runs
    "make bench": Made("/python -m bench.lookups"),
    "make bench SCALE=full": Made("/python -m bench.scale --rows full"),
    "python -m bench.ectcq": Elsewhere(
        "tests/test_bench_ectcq.py", "test_a_line_has_the_shares_of_all_bits"
    ),
    "python -m bench.codes": Elsewhere(
        "tests/test_bench_codes.py", "test_a_line_is_measured_once_and_stands_in_the_page"
    ),
    "python -m bench.decoding --results results": Elsewhere(
        "tests/test_bench.py", "test_lookups_of_text_are_timed_by_each_way_to_decode"
    ),
    "python -m bench.lookups --methods int8,T24 --rows 30522 --dims 768": Run(
        "python -m bench.lookups --methods int8 --rows 500 --dims 16 --runs 3", "int8"
    ),
    "python -m bench.gpu": Elsewhere("tests/test_bench.py", "test_a_machine_without_a_gpu_is_told"),
    "python -m bench.gpu --device cpu": Elsewhere(
        "tests/test_bench.py", "test_the_gpu_benchmark_tries_itself_on_the_cpu"
    ),
    ". .venv/bin/activate": Made("-m venv .venv"),
    "snakemake -n": Planned("compress"),
    "snakemake --cores 2": Planned("figures"),
    "snakemake --cores 8": Planned("figures"),
    "snakemake --cores 8 --use-conda": Planned("figures"),
    "snakemake --cores 8 --use-conda --conda-create-envs-only": Elsewhere(
        CONDA, "--conda-create-envs-only"
    ),
    "snakemake --cores 8 --use-conda --conda-prefix /shared/conda": Elsewhere(
        CONDA, "test_every_job_runs_in_an_environment"
    ),
    "snakemake --workflow-profile profiles/slurm": Elsewhere(
        SLURM, "test_the_profile_runs_as_it_is"
    ),
    "make .venv/installed": Made("-m venv .venv"),
    ".venv/bin/snakemake --workflow-profile profiles/slurm": Elsewhere(
        SLURM, "test_the_profile_runs_as_it_is"
    ),
    ".venv/bin/snakemake --workflow-profile profiles/slurm --use-conda "
    "--configfile studies/claims.yaml": Elsewhere(SLURM, "test_every_job_completes_on_the_cluster"),
    'squeue --me -o "%.9i %.9P %.2t %.10M %k"': Elsewhere(SLURM, ASKED),
    "sacct -X -S today -o JobID,State,Elapsed,ReqMem,NodeList,Comment%60": Elsewhere(SLURM, ASKED),
    "sacct -j 4711 -o JobID,State,MaxRSS,ReqMem,ExitCode": Elsewhere(SLURM, ASKED),
    "snakemake --cores 8 --configfile studies/smoke.yaml": Elsewhere(
        SMOKE, "test_tables_figures_and_provenance_are_there"
    ),
    "snakemake --cores 8 --configfile studies/claims.yaml": Planned("claims"),
    "snakemake results/report.html --cores 8 --configfile studies/claims.yaml": Planned("report"),
    "snakemake --cores 8 --directory ratios --configfile studies/ratios.yaml": Planned("scores"),
    "snakemake --report results/snakemake.html": Elsewhere(
        SMOKE, "test_snakemakes_own_report_has_captions_and_categories"
    ),
    "snakemake results/tables/paper_wang2023lighttoken.tex --cores 8": Planned("tables"),
    "snakemake -n --configfile own.yaml": Planned("finetune"),
    "snakemake results/report.html --cores 8 --configfile own.yaml": Planned("report"),
    "embpress table results/scores.csv --task wikitext": Run(prints="SVD"),
    "embpress table results/scores.csv --ratio 10 --method svd --method t24": Run(
        prints="Target ratio 10"
    ),
    "embpress table results/scores.csv --method lighttoken --method svd": Run(
        prints="Target ratio 25"
    ),
    "embpress table results/scores.csv --task similarity --ratio 25": Run(prints="similarity"),
    "embpress budget --model DIR --megabytes 1 --methods integer,svd,t24 --counts counts.tsv": Run(
        prints="best under 1 MB"
    ),
    "embpress budget --model DIR --megabytes 1 --methods integer,svd "
    "--scores results/scores.csv": Run(prints="retention"),
    "embpress budget --model DIR --matrices all --megabytes 9 --calibration texts.txt": Elsewhere(
        "tests/export/test_whole_model_ranking.py",
        "test_the_printed_command_makes_what_was_promised",
    ),
    "embpress compress --model DIR --method integer --ratio 7 --counts counts.tsv "
    "--out DIR-small": Run(prints="written to DIR-small"),
    "embpress compress --model DIR --method ectcq --matrices all --ratio 6 "
    "--calibration texts.txt --out DIR-whole": Run(prints="written to DIR-whole"),
    "embpress export-study results --task rotten_distilled --method kronecker_model --ratio 4 "
    "--out DIR-distilled": Elsewhere(
        "tests/pipeline/test_study_export.py", "test_an_exported_result_predicts_what_was_evaluated"
    ),
    "embpress compress --model DIR --ratio 10 --out DIR-small": Run(prints="written to DIR-small"),
    "embpress compress --model DIR --method vocabulary_trimming --ratio 4 "
    "--text english.txt japanese.txt --out DIR-trimmed": Elsewhere(
        "tests/export/test_trimming.py", "test_the_command_reports_both_vocabularies"
    ),
    "embpress compress --model DIR --method ectcq --ratio 10 --head integer@4 "
    "--out DIR-head": Elsewhere(
        "tests/export/test_head_code.py", "test_the_command_prints_both_sizes"
    ),
    "embpress compress --model DIR --matrix model.embed_tokens_per_layer --ratio 10 "
    "--out DIR-table": Elsewhere(
        "tests/export/test_table_source.py", "test_the_command_names_the_table"
    ),
    "embpress compress --model sentence-transformers/all-MiniLM-L6-v2 --ratio 10 "
    "--out MiniLM-10x": Elsewhere("tests/integrations/test_guide.py", "test_the_guide_runs"),
    "embpress export MiniLM-10x --onnx minilm.onnx": Elsewhere(
        "tests/integrations/test_guide.py", "test_the_guide_runs"
    ),
    "embpress export DIR-small --onnx model.onnx": Run(prints="written to model.onnx"),
    "embpress compress --model DIR --method integer --ratio 7 --option bits=4 --out DIR-int4": Run(
        prints="written to DIR-int4"
    ),
    "embpress export DIR-int4 --gguf table.gguf": Run(prints="Q4_0"),
    "embpress export DIR-int4 --compressed-tensors DIR-packed": Run(prints="int4"),
    "embpress inspect DIR-small": Run(prints="compressed by"),
    "python -m pytest tests/methods/test_contract.py -k pca": Run(prints="passed"),
    "python -m pytest tests/test_storage.py": Run(prints="passed"),
    "python -m pytest tests/tasks/test_contract.py -k cloze": Run(prints="passed"),
    "embpress compress --model DIR --method pca --ratio 4 --out DIR-pca": Run(
        prints="written to DIR-pca"
    ),
}
SHORTER = {
    "torch.randn(30522, 384)": "torch.randn(2100, 64)",
    '"lighttoken", ratio=25': '"lighttoken", ratio=8',
}
"""Shorter text in place of a part of a Python example."""
PYTHON_ELSEWHERE = {
    "MiniLM-10x": Elsewhere("tests/integrations/test_guide.py", "test_the_guide_runs"),
    "import mteb": Elsewhere(
        "tests/integrations/test_recipes.py", "test_mteb_evaluates_variants_side_by_side"
    ),
    "import lm_eval": Elsewhere(
        "tests/integrations/test_recipes.py",
        "test_lm_eval_gives_an_uncompressed_model_the_scores_of_the_dense_one",
    ),
    "safetensors_matrix(Path": Elsewhere("tests/numerics/test_matrices.py", "safetensors_matrix"),
}
"""Python examples that need files, data or packages which only the tests named here have."""


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


def run(words, folder):
    """Run a command with this Python in a folder that has its own copy of the library."""
    words = [str(word) for word in words]
    if words[0] in ("embpress", "snakemake"):
        words = [sys.executable, "-m", *words]
    elif words[0] == "python":
        words[0] = sys.executable
    environment = os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "120"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, " ".join(words) + "\n" + done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_command_is_known_and_shown():
    shown = {command for document in DOCUMENTS for command in commands(document)}
    assert not shown - COMMANDS.keys(), "add these to COMMANDS"
    assert not COMMANDS.keys() - shown, "no document shows these"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: str(d.relative_to(ROOT)))
def test_commands_that_run(document, workplace):
    """Run them in the order of the document, because one may read what another wrote."""
    for command in commands(document):
        way = COMMANDS.get(command)
        if isinstance(way, Run):
            for left in ("DIR-small", "DIR-pca"):
                if f"--out {left}" in command:
                    shutil.rmtree(workplace / left, ignore_errors=True)
            assert way.prints in run(shlex.split(way.instead or command), workplace), command


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
    output = run([*words, "--configfile", workplace / study, "--dry-run"], workplace)
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
