"""Digests of the library code that a job runs.

Snakemake runs a job again if a parameter of its rule has changed, but does not see which modules a
script imports. A digest of these modules as a parameter makes results stale when the code changes.
Imports are read from the source with `ast`: nothing is imported, and torch is not needed.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
CHECKS = frozenset({"embpress.pipeline.model_checks"})
"""Modules that only refuse input. No output depends on them or on what they import."""


@cache
def code_digest(*entries: str | Path) -> str:
    """Hexadecimal SHA-256 of all modules that some entry points import, directly or indirectly.

    Data files beside a module that its source names are part of it.

    Args:
        entries: names of modules (`embpress.methods.svd`) and paths of scripts. The text of a
            script is no part of the digest, as Snakemake itself compares it.

    Raises:
        ValueError: if this package has no module of a given name.
    """
    digest = hashlib.sha256()
    for name in modules_of(*entries):
        digest.update(f"{name} {_module_digest(name)}\n".encode())
    return digest.hexdigest()


def modules_of(*entries: str | Path) -> list[str]:
    """Sorted names of the modules of this package that entry points import, directly or indirectly.

    Modules that are imported by a name known at run time only (methods, formats, task kinds) are
    not visible in the source. List them as further entries. CHECKS are left out.

    Raises:
        ValueError: if this package has no module of a given name.
    """
    pending: list[str] = []
    for entry in entries:
        if isinstance(entry, Path):
            pending.extend(_imports(_parse(entry), package=""))
        elif _source_file(entry):
            pending.extend(_with_parents(entry))
        else:
            raise ValueError(f"there is no module {entry!r} in {PACKAGE}")
    modules: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in modules and name not in CHECKS:
            modules.add(name)
            pending.extend(_imported_modules(name))
    return sorted(modules)


@cache
def _module_digest(name: str) -> str:
    """SHA-256 of a module's source and of the data files that it names."""
    path = _source_file(name)
    assert path, name
    digest = hashlib.sha256(path.read_bytes())
    for data_file in _data_files(path):
        digest.update(f"{data_file.name}\n".encode() + data_file.read_bytes())
    return digest.hexdigest()


def _data_files(path: Path) -> list[Path]:
    """Files beside a module, and in folders beside it, that are named by a string in its source.

    A folder that is a package is code, not data: its modules count where they are imported.
    """
    strings = {
        node.value
        for node in ast.walk(_parse(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = [entry for entry in path.parent.iterdir() if entry.name in strings]
    named = [entry for entry in named if not (entry / "__init__.py").exists()]
    files = [file for entry in named for file in (entry.rglob("*") if entry.is_dir() else [entry])]
    return sorted(file for file in files if file.is_file() and file.suffix not in (".py", ".pyc"))


@cache
def _imported_modules(name: str) -> tuple[str, ...]:
    """Modules of this package that a module imports."""
    path = _source_file(name)
    assert path, name
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return tuple(_imports(_parse(path), package))


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Modules of this package that a syntax tree imports; relative names start at `package`."""
    for node in _executed_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # either a submodule or an attribute of the module
                submodule = f"{module}.{alias.name}"
                yield from _with_parents(submodule if _source_file(submodule) else module)


def _executed_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below a node, without the bodies of `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            child = ast.Module(body=child.orelse, type_ignores=[])
        yield child
        yield from _executed_nodes(child)


def _with_parents(name: str) -> Iterator[str]:
    """A module of this package and the packages that contain it; nothing for any other name."""
    parts = name.split(".")
    if _source_file(name):
        yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


@cache
def _source_file(name: str) -> Path | None:
    """The source file of a module of this package; None for any other name."""
    first, *rest = name.split(".")
    if first != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*rest)
    candidates = (path / "__init__.py", path.parent / f"{path.name}.py")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


@cache
def _parse(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_bytes(), filename=str(path))
