"""Files of a sentence-transformers folder beside the transformer: modules, pooling, prompts.

    modules.json                        the modules in order, with the class and subfolder of each
    config_sentence_transformers.json   prompts and the similarity function
    sentence_bert_config.json           maximal length of a text, in the transformer's folder
    1_Pooling/config.json, ...          settings and weights of the other modules

sentence-transformers itself is not imported: `compress` carries the files over without it.
"""

import json
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import UserError
from ..files import summarize_error, write_json

MODULES = "modules.json"
PROMPTS = "config_sentence_transformers.json"
TRANSFORMER_SETTINGS = "sentence_bert_config.json"
LIBRARY = "sentence_transformers."
"""Modules of other packages may be code of the folder, which is never run."""
MODULE_CLASS = "embpress.integrations.sentence_transformers.CompressedTransformer"
"""Class that modules.json of an exported model names for its transformer."""
COPIED = {".json", ".safetensors", ".txt"}
PICKLES = {".bin", ".ckpt", ".pkl", ".pt", ".pth"}


def read_modules(folder: Path) -> list[dict[str, Any]]:
    """Modules of a folder in the order in which they run; none if it has no modules.json.

    Each has a `name`, a `type` (its class) and a `path` (its subfolder, empty for the folder).

    Raises:
        UserError: if the list is invalid, or its classes are not those of sentence-transformers.
    """
    if not (folder / MODULES).is_file():
        return []
    try:
        modules: Any = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        types = [module["name"] and str(module["type"]) for module in modules]
        for module in modules:
            check_inside(module["path"])
    except (LookupError, TypeError, ValueError, OSError) as error:
        raise UserError(
            f"{folder / MODULES} is not a valid list of modules ({summarize_error(error)}): save "
            "the model with sentence-transformers again"
        ) from error
    for name in types:
        if not name.startswith(LIBRARY) and name != MODULE_CLASS:
            raise UserError(
                f"{folder / MODULES} names the module class {name}, which is not of "
                "sentence-transformers: no code of a folder is run; use a model without it"
            )
    first = types[0] if types else "no module"
    if first.rpartition(".")[2] not in ("Transformer", "CompressedTransformer"):
        raise UserError(
            f"{folder / MODULES} begins with {first}, not with a Transformer: there is no token "
            "embedding of a transformers model to compress"
        )
    return modules


def check_inside(path: str) -> None:
    """Check that a relative path in POSIX form stays within its folder.

    Raises:
        ValueError: if it does not.
    """
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
        raise ValueError(f"{path!r} leads out of the folder")


def find_transformer(folder: Path) -> Path:
    """The folder with the transformer: a subfolder in early sentence-transformers models."""
    modules = read_modules(folder)
    return folder / modules[0]["path"] if modules else folder


def copy_modules(folder: Path, out: Path) -> None:
    """Copy everything of a sentence-transformers folder but the transformer and its tokenizer.

    The transformer's entry in modules.json names `MODULE_CLASS`, and `out` itself as its folder.
    Nothing is copied if `folder` is no such folder.

    Raises:
        UserError: if a module has weights in a pickle, or submodules.
    """
    modules = read_modules(folder)
    if not modules:
        return
    settings = [folder / PROMPTS, find_transformer(folder) / TRANSFORMER_SETTINGS]
    for file in settings:
        if file.is_file():
            shutil.copyfile(file, out / file.name)
    for module in modules[1:]:
        _copy_module(folder / module["path"], out / module["path"])
    modules[0].update(path="", type=MODULE_CLASS)
    write_json(out / MODULES, modules)


def _copy_module(folder: Path, out: Path) -> None:
    """Copy the settings and weights of one module; some modules have no folder."""
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    has_weights = any(file.suffix == ".safetensors" for file in files)
    for file in files:
        if file.is_dir():
            raise UserError(
                f"{folder} contains modules of its own, in {file.name}: only models whose modules "
                "run one after the other can be compressed"
            )
        if file.suffix in PICKLES and not has_weights:
            raise UserError(
                f"{file} is a pickle, which is never read: save the model with "
                "sentence-transformers again, which writes safetensors"
            )
        if file.suffix in COPIED:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, out / file.name)
