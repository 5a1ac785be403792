"""The manifest of an exported model: replaced layers, sizes before, SHA-256 of all other files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from .. import storage
from ..errors import UserError
from ..files import read_json, sha256_of, summarize_error
from ..models.embedding import OTHER_WEIGHTS
from ..models.pretrained import CONFIG
from .sentence_modules import check_inside

MANIFEST_VERSION = 2
"""1 unless the head has a matrix of its own, which readers of version 1 would ignore."""
HEAD = "head"
"""Subfolder of the matrix of the head, if it has one of its own."""
MANIFEST = "embpress.json"
REQUIRED_FILES = (CONFIG, OTHER_WEIGHTS, storage.TENSORS, storage.HEADER)


class HeadFit(TypedDict):
    """How the matrix of the head was compressed, if it has one of its own."""

    method: str
    ratio: float


class FitRecord(TypedDict):
    """How the matrix was compressed."""

    method: str
    options: Mapping[str, object]
    ratio: float
    seed: int
    counts: bool
    """Whether the fit had token counts."""
    counts_source: NotRequired[str]
    """What they were counted in."""
    head: NotRequired[HeadFit]


class DenseSizes(TypedDict):
    """Sizes of the dense model in bytes."""

    embedding: int
    model: int
    dtype: str


class About(TypedDict, total=False):
    """The part of the manifest that a loaded model keeps, to be saved again."""

    made: FitRecord
    before: DenseSizes
    frequent: list[int]
    """Ids of the most frequent tokens, for `decode="cached"`."""


class ReplacedLayers(TypedDict):
    """The layers that run on the compressed matrix."""

    shape: list[int]
    lookups: list[str]
    heads: list[str]
    own_head: NotRequired[bool]
    """Whether the heads run on the matrix in HEAD."""
    table: NotRequired[str]
    """Name of the embedding layer that was compressed, if it is not the input embedding."""


class Manifest(About):
    """The content of MANIFEST."""

    embpress: int
    """Version of the manifest, at most MANIFEST_VERSION."""
    written_by: str
    """Version of embpress."""
    replaced: ReplacedLayers
    sha256: dict[str, str]
    """SHA-256 of all other files by their paths within the folder."""


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest, and check it and the SHA-256 of every file that it lists.

    Raises:
        UserError: if the folder contains no exported model, or one that is incomplete, altered or
            of a newer version.
    """
    try:
        manifest: Any = read_json(folder / MANIFEST)
        storage.check_version(manifest["embpress"], MANIFEST_VERSION, folder)
        hashes = manifest["sha256"]
        if not isinstance(hashes, dict) or not isinstance(manifest["replaced"], dict):
            raise ValueError("`sha256` and `replaced` must be JSON objects")
        for name in REQUIRED_FILES:
            if name not in hashes:
                raise ValueError(f"{MANIFEST} does not list {name}")
        for name, digest in hashes.items():
            check_inside(name)
            if not (folder / name).is_file():
                raise ValueError(f"{name} is missing")
            if sha256_of(folder / name) != digest:
                raise ValueError(f"{name} was altered after it was written")
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} is not a compressed model: {MANIFEST} is missing; name a folder that "
            "`embpress compress` wrote"
        ) from error
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise invalid_model_error(folder, summarize_error(error)) from error
    return manifest


def invalid_model_error(folder: Path, reason: str) -> UserError:
    """The error for an exported model that is incomplete, altered or inconsistent."""
    return UserError(f"{folder} is not a valid compressed model ({reason}): compress it again")
