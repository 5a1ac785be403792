"""The public API: its names, the examples in its docstrings, and what `load` needs."""

import ast
import doctest
import subprocess
import sys
from importlib import resources

import pytest

import embpress

from .conftest import ROOT
from .zoo import tiny

NOT_NEEDED = ("matplotlib", "faiss", "datasets", "pandas", "sklearn", "numba", "snakemake")
"""Packages that loading a compressed model must not import."""
LOAD = """
import sys
for name in sys.argv[2:]:
    sys.modules[name] = None  # an import of it fails
import embpress
print(type(embpress.load(sys.argv[1])).__name__)
"""


def run_python(code, *arguments):
    """What a new process prints."""
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_load_needs_neither_plots_nor_search_nor_tables(tmp_path):
    tiny("bert").save_pretrained(tmp_path / "dense")
    embpress.compress_model(tmp_path / "dense", tmp_path / "compressed", "svd", 1.5)
    assert run_python(LOAD, str(tmp_path / "compressed"), *NOT_NEEDED) == "BertModel"


def test_importing_the_package_imports_no_torch():
    assert run_python("import sys, embpress; print('torch' in sys.modules)") == "False"


def test_every_public_name_resolves_and_is_declared_for_type_checkers():
    tree = ast.parse((ROOT / "embpress/__init__.py").read_text())
    (typed,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {alias.name for statement in typed.body for alias in statement.names}
    assert {*embpress.__all__} == imported | {"__version__"}
    assert {*embpress.__all__} <= {*dir(embpress)}
    for name in imported:
        assert getattr(embpress, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'decompress'"):
        embpress.decompress  # noqa: B018
    assert resources.files(embpress).joinpath("py.typed").is_file()


PUBLIC_FUNCTIONS = ["compress", "compress_model", "compress_whole_model", "inspect", "load"]
PUBLIC_FUNCTIONS += ["rank_methods"]


@pytest.mark.parametrize("name", PUBLIC_FUNCTIONS)
def test_every_public_function_has_an_example_that_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (example,) = doctest.DocTestFinder(recurse=False).find(getattr(embpress, name), name, globs={})
    assert example.examples
    results = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example)
    assert results.failed == 0 and results.attempted == len(example.examples)
