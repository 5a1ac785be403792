"""The library's rooms import each other one way only, read from the source by `ast`."""

import ast
from collections.abc import Iterator
from pathlib import Path

import embpress

PACKAGE = Path(embpress.__file__).parent
FLOORS = {
    "errors": 0,
    "files": 1,
    "safetensors_header": 1,
    "numerics": 2,
    "formats": 3,
    "storage": 4,
    "methods": 4,
    "fidelity": 4,
    "study": 5,
    "models": 6,
    "analysis": 6,
    "data": 7,
    "tasks": 8,
    "export": 8,
    "integrations": 9,
    "training": 9,
    "pipeline": 9,
    "report": 10,
    "commands": 11,
    "cli": 12,
}
"""Each room imports only rooms of a lower floor. Loose modules are rooms too."""
ENTRY_POINTS = ("__init__", "__main__")


def room_of(path: Path) -> str:
    """The folder of a file within the package, or the name of a loose module."""
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING`, which do not run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from runtime_nodes(child)


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a file imports, inside functions too."""
    package = ["embpress", *path.relative_to(PACKAGE).parent.parts]
    rooms = set()
    for node in runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names = [*base, *(node.module or "").split(".")]
            names = [name for name in names if name]
            if names[:1] == ["embpress"]:
                rooms |= {names[1]} if len(names) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            parts = [alias.name.split(".") for alias in node.names]
            rooms |= {part[1] for part in parts if part[0] == "embpress" and len(part) > 1}
    return rooms & set(FLOORS)


def test_every_room_has_a_floor_and_few_modules_are_loose():
    files = list(PACKAGE.rglob("*.py"))
    rooms = {room_of(path) for path in files} - set(ENTRY_POINTS)
    assert rooms == set(FLOORS)
    loose = [path.stem for path in PACKAGE.glob("*.py") if path.stem not in ENTRY_POINTS]
    assert len(loose) <= 8


def test_rooms_import_rooms_of_lower_floors_only():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {imported}"
        for path in PACKAGE.rglob("*.py")
        if room_of(path) not in ENTRY_POINTS
        for imported in imported_rooms(path) - {room_of(path)}
        if FLOORS[imported] >= FLOORS[room_of(path)]
    ]
    assert not wrong
