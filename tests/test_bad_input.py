"""Every wrong input of `bad_input` gives the message in tests/golden/messages.md.

It is one sentence, without a traceback.
"""

import contextlib
import io
import re
import subprocess
import sys
import tempfile

import pytest
import torch

from embpress.cli import main
from embpress.errors import InfeasibleRatio, UserError
from embpress.methods import compress
from embpress.methods._base import Context

from .bad_input import SECTIONS
from .conftest import ROOT

GOLDEN = ROOT / "tests/golden/messages.md"
CASES = [(section, name) for section, cases in SECTIONS.items() for name in cases]
LONGEST = 500
INTRODUCTION = """# Messages for wrong input

Each mistake gives one sentence with the culprit and the remedy, without a traceback, and an exit
status other than 0. The tests make each mistake and compare the message with this page
(`tests/bad_input.py`; `python -m tests.test_bad_input` writes the page). Artefacts that are
truncated, altered or forged are 50 more cases, in `tests/test_corruption.py`.
"""


def message(case, folder):
    """What a case is told in the working folder, whose own name is left out.

    Of a command the last line.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            words = case()
    except UserError as error:
        return shown(str(error), folder)
    assert isinstance(words, list), "nothing was found wrong"
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(words) == 1
    assert output.getvalue() == ""
    return shown(printed.getvalue().splitlines()[-1].removeprefix("embpress: "), folder)


def shown(text, folder):
    """A message without the folder's name, and without the names of all methods or packages.

    To which any change may add.
    """
    return re.sub(
        r"(?<=there are )[\w.-]+( \(\w+\))?(, [\w.-]+( \(\w+\))?){7,}",
        "...",
        text.replace(f"{folder}/", ""),
    )


def documented():
    """Messages of tests/golden/messages.md by section and case."""
    found = {}
    for part in GOLDEN.read_text(encoding="utf-8").split("\n## ")[1:]:
        section, _, table = part.partition("\n")
        for name, text in re.findall(r"^\| (.*) \| (.*) \|$", table, re.MULTILINE)[1:]:
            found[section, name] = text.replace("\\|", "|")
    return found


def write_golden():
    """Write tests/golden/messages.md."""
    parts = [INTRODUCTION]
    for section, cases in SECTIONS.items():
        parts.append(f"\n## {section}\n\n| what is wrong | what is said |\n|---|---|\n")
        for name, case in cases.items():
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                parts.append(f"| {name} | {message(case, folder).replace('|', chr(92) + '|')} |\n")
    GOLDEN.write_text("".join(parts), encoding="utf-8")


@pytest.mark.parametrize(("section", "name"), CASES)
def test_wrong_input_gives_the_documented_message(section, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = message(SECTIONS[section][name], tmp_path)
    assert found and "\n" not in found and len(found) <= LONGEST
    assert found == documented()[section, name]


def test_the_golden_page_lists_exactly_these_cases():
    assert len(CASES) >= 60
    assert list(documented()) == CASES


BROKEN = {
    "a key that stands twice": (
        "seeds: [0]",
        "seeds: [0]\nseeds: [1]",
        "duplicate key 'seeds'",
    ),
    "no YAML": ("seeds: [0]", "seeds: [0", "is not valid JSON or YAML"),
    "a list": (None, "[svd, pq]", "with keys at top level"),
    "NaN": ("ratios: [4]", "ratios: [.nan]", "config: ratios.0: nan"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_workflow_says_it_of_a_config_and_runs_nothing(name, tmp_path):
    old, new, words = BROKEN[name]
    study = (ROOT / "studies/smoke.yaml").read_text()
    assert old is None or study.count(old) == 1
    (tmp_path / "study.yaml").write_text(new if old is None else study.replace(old, new))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "-s",
        ROOT / "Snakefile",
        "-d",
        tmp_path,
        "--cores",
        "1",
    ]
    run = subprocess.run(
        [*command, "--configfile", tmp_path / "study.yaml"], capture_output=True, text=True
    )
    assert run.returncode != 0 and words in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr and not (tmp_path / "results").exists()


def test_the_command_line_exits_with_1_and_one_sentence(tmp_path):
    words = ["compress", "--model", "nowhere", "--method", "svd", "--ratio", "2", "--out", "out"]
    run = subprocess.run(
        [sys.executable, "-m", "embpress", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 1 and run.stdout == ""
    said = run.stderr.splitlines()[-1]  # another line says that code is compiled
    assert said.startswith("embpress: nowhere is neither a folder") and "owner/name" in said


@pytest.mark.parametrize("method", ["svd", "pq", "integer", "kronecker", "lighttoken", "ectcq"])
@pytest.mark.parametrize(
    "shape", [(2, 12), (7, 12), (40, 13), (3, 1), (50, 7)], ids=lambda s: f"{s[0]} x {s[1]}"
)
def test_odd_shapes_are_compressed_or_said_to_be_out_of_reach(method, shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    try:
        compressed = compress(values, method, 1.5, Context(counts=torch.ones(shape[0])))
    except InfeasibleRatio as error:
        assert re.search(rf"on {shape[0]} x {shape[1]}|has {shape[0]}: use", str(error))
        return
    assert compressed.dense().shape == shape and torch.isfinite(compressed.dense()).all()


if __name__ == "__main__":
    write_golden()
