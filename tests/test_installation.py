"""What each extra of pyproject.toml installs is enough for what its users import.

Every case runs in a virtual environment that holds links to the distributions that pip would
install for that extra, taken from the environment of the tests, and nothing else. Nothing is
downloaded.
"""

import fnmatch
import hashlib
import subprocess
import sys
import tomllib
import venv
from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from transformers import BertConfig, BertModel

import embpress
from embpress import compress_model

from .conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of the text at https://www.apache.org/licenses/LICENSE-2.0.txt."""
OPTIONAL = ("faiss", "matplotlib", "datasets", "pandas", "sklearn", "snakemake", "fugashi")
LOAD = """
import importlib.util

import torch

import embpress
from embpress.cli import main

available = [name for name in OPTIONAL if importlib.util.find_spec(name)]
assert not available, f"the core dependencies bring {available}"
model = embpress.load("small")
with torch.no_grad():
    states = model(input_ids=torch.tensor([[2, 5, 6, 3]])).last_hidden_state
assert states.shape == (1, 4, 16) and torch.isfinite(states).all()
for command in (
    ["inspect", "small"],
    ["compress", "--model", "base", "--method", "svd", "--ratio", "2", "--out", "again"],
    "compress --model base --method ectcq --ratio 2 --option weighting=uniform --out coded".split(),
    ["budget", "--model", "base", "--megabytes", "0.02", "--methods", "integer,svd"],
):
    assert main(command) == 0, command
"""
MISSING = """
from embpress.cli import main

main(["table", "scores.csv"])
main(["compress", "--model", "base", "--method", "pq", "--ratio", "1.2", "--out", "again"])
"""
IMPORTS = {
    "faiss": "from embpress.numerics.search import load_faiss\nload_faiss()",
    "plots": "from embpress.report import plots",
    "hub": "import datasets\nfrom embpress.data import hub, hub_files, shards",
    "sentence-transformers": "from embpress.integrations import sentence_transformers",
    "gguf": "from embpress.integrations import gguf_table",
    "onnx": "from embpress.integrations.onnx import export",
    "japanese": "import fugashi, sentencepiece, unidic_lite\nfrom embpress.data import words",
}


def required_distributions(extra: str | None) -> list[Distribution]:
    """Distributions that `pip install .` or `pip install .[extra]` brings, as far as installed."""
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(extra, [])]
    queue = deque((Requirement(line), "") for line in wanted)
    distributions: dict[str, Distribution] = {}
    visited = set()
    while queue:
        requirement, parent_extra = queue.popleft()
        if requirement.marker and not requirement.marker.evaluate({"extra": parent_extra}):
            continue
        name = canonicalize_name(requirement.name)
        try:
            distributions[name] = distribution(name)
        except PackageNotFoundError:  # the CPU build of torch has fewer dependencies
            continue
        required = [Requirement(line) for line in distributions[name].requires or []]
        for own_extra in {"", *requirement.extras}:
            if (name, own_extra) not in visited:
                visited.add((name, own_extra))
                queue.extend((line, own_extra) for line in required)
    return list(distributions.values())


def make_environment(folder: Path, extra: str | None) -> Path:
    """Create a virtual environment with embpress and an extra, and return its Python."""
    venv.create(folder, with_pip=False)
    site = folder / "lib" / PYTHON / "site-packages"
    for installed in required_distributions(extra):
        parts = {file.parts[0] for file in installed.files or [] if not file.is_absolute()}
        for part in parts - {"..", "__pycache__"}:
            if not (site / part).exists():
                (site / part).symlink_to(Path(str(installed.locate_file(part))))
    (site / "embpress").symlink_to(ROOT / "embpress")
    return folder / "bin" / "python"


def run(python: Path, code: str, folder: Path) -> str:
    """Run code with a Python that reads no other environment, and return what it printed."""
    command = [str(python), "-I", "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture
def model_folders(tmp_path, wordpiece):
    """A model `base` whose embedding has 600 rows, and `small`, which holds it compressed."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 600, "hidden_size": 16, "intermediate_size": 32}
    config = BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    BertModel(config).save_pretrained(tmp_path / "base")
    wordpiece.save_pretrained(tmp_path / "base")
    compress_model(tmp_path / "base", tmp_path / "small", "integer", 2)


def test_core_dependencies_load_compress_and_inspect(model_folders, tmp_path):
    python = make_environment(tmp_path / "environment", None)
    run(python, f"OPTIONAL = {OPTIONAL!r}\n{LOAD}", tmp_path)
    output = run(python, MISSING, tmp_path)
    assert "embpress[workflow]" in output and "embpress[faiss]" in output


@pytest.mark.parametrize("extra", IMPORTS)
def test_an_extra_brings_what_its_modules_import(extra, tmp_path):
    python = make_environment(tmp_path / "environment", extra)
    run(python, IMPORTS[extra], tmp_path)


def test_the_package_ships_its_data_files():
    """A wheel holds the type marker, presets and templates that the library reads."""
    package_data = PYPROJECT["tool"]["setuptools"]["package-data"]
    patterns = [
        f"{package.replace('.', '/')}/{pattern}"
        for package, patterns in package_data.items()
        for pattern in patterns
    ]
    files = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "embpress").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".nbi", ".nbc")
    ]
    assert "embpress/py.typed" in files
    for name in files:
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_every_file_states_the_same_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert PROJECT["version"] == embpress.__version__ == str(citation["version"])
    assert f"## [{PROJECT['version']}]" in changelog and "## [Unreleased]" in changelog
    assert PROJECT["license"] == citation["license"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256(text).hexdigest() == APACHE_2_SHA256


def test_ci_runs_the_script_and_the_hooks_run_the_linters():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["test"]["steps"]
    assert ".ci/run" in [step.get("run") for step in steps]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"].split()[0] for hook in hooks["repos"][0]["hooks"]]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for entry in entries:
        assert entry.replace(".venv/bin", "$(BIN)") in makefile, entry
