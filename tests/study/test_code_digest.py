"""Digests of the code that an entry point runs: which modules they follow, and which not."""

import pytest

from embpress.study import code_digest as digests
from embpress.study.code_digest import code_digest, modules_of

FILES = {
    "__init__.py": "",
    "entry.py": "from . import leaf\nfrom .room import name\nimport toy.room.deep\nimport json\n",
    "leaf.py": "",
    "room/__init__.py": "from .inner import name\n",
    "room/inner.py": "def name():\n    from .. import lazy\n",
    "room/deep.py": """
from pathlib import Path
DATA = Path(__file__).parent / "data"
PACKAGE = "code"
""",
    "room/data/values.yaml": "a: 1\n",
    "room/note.txt": "",
    "room/code/__init__.py": "",
    "room/code/table.yaml": "",
    "lazy.py": """
import typing
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from . import types_only
elif True:
    from . import other
if typing.TYPE_CHECKING:
    import toy.types_only
""",
    "types_only.py": "",
    "other.py": "from . import entry\n",
    "unused.py": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `toy` in place of embpress, and a function that forgets what was read of it."""
    for name, text in FILES.items():
        path = tmp_path / "toy" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(digests, "PACKAGE", tmp_path / "toy")
    forget()
    yield tmp_path / "toy"
    forget()


def forget():
    """Empty the caches of the module."""
    for function in vars(digests).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


def test_imports_are_followed_with_their_packages_and_those_inside_functions(package):
    reached = ["toy", "toy.entry", "toy.lazy", "toy.leaf", "toy.other"]
    reached += ["toy.room", "toy.room.deep", "toy.room.inner"]
    assert modules_of("toy.entry") == reached
    script = package.parent / "script.py"
    script.write_text("with open('x'):\n    from toy.room import name\n    import os.path\n")
    assert modules_of(script) == reached
    assert modules_of("toy.leaf") == ["toy", "toy.leaf"]
    assert modules_of("toy.room.deep", "toy.unused") == sorted([*reached, "toy.unused"])


@pytest.mark.parametrize("name", [*FILES, "room/data/new.yaml"])
def test_a_digest_changes_with_the_code_and_data_that_it_covers_alone(package, name):
    before = code_digest("toy.entry")
    forget()
    assert code_digest("toy.entry") == before
    forget()
    with (package / name).open("a") as file:
        file.write("# changed\n")
    not_run = ("types_only.py", "unused.py", "room/note.txt")
    a_package_named_by_a_string = ("room/code/__init__.py", "room/code/table.yaml")
    covered = name not in (*not_run, *a_package_named_by_a_string)
    assert (code_digest("toy.entry") != before) == covered


def test_a_module_that_does_not_exist_is_named(package):
    with pytest.raises(ValueError, match="toy.missing"):
        code_digest("toy.missing")


def test_a_method_brings_its_format_and_numerics_and_no_other_method():
    modules = modules_of("embpress.methods.svd")
    assert {"embpress.formats.low_rank", "embpress.numerics.linalg"} <= set(modules)
    assert [m for m in modules if m.startswith("embpress.methods.")] == [
        "embpress.methods._base",
        "embpress.methods.svd",
    ]
