"""Compression methods, one file each: a new file here is available in every study and table.

Files that begin with an underscore are helpers. Importing this package does not import torch, so
that a study can be checked where torch is not installed.
"""

import ast
import importlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from ..formats._base import CompressedMatrix
    from ..numerics.matrices import Rows
    from ._base import Context, Method

FOLDER = Path(__file__).parent
TRIMMING = "vocabulary_trimming"
"""Method of `embpress compress` and of studies that changes the tokenizer too, and therefore
compresses no matrix alone; see `export.trimming`."""
WHOLE_MODELS = "entropy_coded_trellis"
"""Method that codes all matrices of a model at once; see `_water_level`."""


def names() -> list[str]:
    """Names of all methods: the files of this folder that do not begin with an underscore."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


@lru_cache
def _declared(attribute: str) -> dict[str, str]:
    """Values of a class attribute by method, of the methods that assign a string to it.

    They are read from the source, as importing a method imports torch.
    """
    values = {}
    for name in names():
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in (statement for part in classes for statement in part.body):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
                continue
            if any(isinstance(t, ast.Name) and t.id == attribute for t in node.targets):
                values[name] = str(node.value.value)
    return values


def aliases() -> dict[str, str]:
    """Method names by alias."""
    return {alias: name for name, alias in _declared("alias").items()}


def describe_names() -> str:
    """Names of all methods, each with its alias, for help and messages."""
    alias_of = {name: alias for alias, name in aliases().items()}
    return ", ".join(f"{name} ({alias_of[name]})" if name in alias_of else name for name in names())


def controls() -> frozenset[str]:
    """Names of the methods that are controls: the uncompressed matrix and the two floors."""
    return frozenset(name for name, kind in _declared("kind").items() if kind == "control")


@lru_cache
def draws(name: str) -> bool:
    """Whether fits of a method may depend on the seed: its source reads the seed of the context.

    Args:
        name: name or alias of a method; also TRIMMING.

    Raises:
        UserError: if there is no such method.
    """
    file = FOLDER / f"{module_name(name).rpartition('.')[2]}.py"
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return any(isinstance(node, ast.Attribute) and node.attr == "seed" for node in nodes)


def resolve_name(name: str) -> str:
    """The name of a method's file, from that name or from its alias.

    Raises:
        UserError: if there is no such method.
    """
    name = aliases().get(name, name)
    if name == TRIMMING:
        raise UserError(
            f"{TRIMMING} changes the tokenizer too, not only a matrix: use it in "
            "`embpress compress` or as a method of a study"
        )
    if name not in names():
        raise UserError(
            f"there is no method {name!r}; there are {describe_names()}; for models also {TRIMMING}"
        )
    return name


def module_name(name: str) -> str:
    """Name of the module of a method, from the method's name or alias.

    Raises:
        UserError: if there is no such method.
    """
    return (
        f"{__name__}.{'_' * (name == TRIMMING)}{name if name == TRIMMING else resolve_name(name)}"
    )


def method_class(name: str) -> "type[Method]":
    """The Method class in the file of this name or alias; also that of TRIMMING.

    Raises:
        UserError: if there is no such method.
    """
    from ._base import Method

    module = importlib.import_module(module_name(name))
    (method,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__ == module.__name__
    ]
    return method


def compress(
    matrix: "Rows", name: str, ratio: float, context: "Context | None" = None, **options: Any
) -> "CompressedMatrix":
    """Compress a (V, d) matrix by a ratio.

    Args:
        matrix: in memory or on disk.
        name: of the method, or its alias.
        ratio: dense fp32 bits / stored bits, at least 1.
        context: token counts, sensitivities, special tokens, seed, device.
        options: of the method.

    Returns:
        The compressed matrix, on the CPU whatever the devices of matrix and fit.

    Raises:
        UserError: for a matrix that cannot be compressed, an unknown method or option, missing
            counts or sensitivities, or ones of another matrix.
        InfeasibleRatio: if the method cannot reach the ratio on this shape.

    Example:
        >>> import embpress, torch
        >>> matrix = torch.randn(300, 32, generator=torch.Generator().manual_seed(0))
        >>> compressed = embpress.compress(matrix, "svd", ratio=2)
        >>> compressed.ratio >= 2, compressed.rows(torch.tensor([7, 7, 2])).shape
        (True, torch.Size([3, 32]))
    """
    from torch import Tensor

    from ..numerics.device import CPU
    from ._base import Context, checked_matrix

    method = method_class(resolve_name(name))(**options)
    checked = checked_matrix(matrix, method.supports_streaming)
    context = context or Context()
    context.check(checked.shape[0])
    plan = method.plan((checked.shape[0], checked.shape[1]), ratio)
    if not isinstance(checked, Tensor):
        context = replace(context, device=CPU)
    elif method.uses_device:
        checked = checked.to(context.device)
    # A FileMatrix only if the method supports streaming.
    compressed = method.fit(checked, plan, context)  # type: ignore[arg-type]
    compressed.prepare()
    return compressed
