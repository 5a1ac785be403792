"""Files of models and data sets out of the hub, by a pinned revision, through the hub client's own
cache.

A machine without network finds there what another one downloaded. Only weights in safetensors,
tables and texts are fetched, never code and never pickles.
"""

import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

from ..errors import UserError
from ..files import atomic_directory

MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
"""Weights and their index, configs, and vocabularies.

Vocab.txt, merges.txt, tokenizer.json, SentencePiece's *.model.
"""


def fetch(
    repo_type: str, name: str, revision: str, patterns: list[str], ignored: list[str]
) -> Path:
    """Folder of a revision in the hub client's cache, holding its files that match; without
    network, those that are there.

    Args:
        repo_type: "model" or "dataset".
        name: owner/name.
        revision: a commit.
        patterns: of the files wanted.
        ignored: of files that are not, though they match.

    Raises:
        UserError: if they can neither be downloaded nor are in the cache; with what is to be
            checked.
    """
    import httpx  # the hub client's: what it lets through of network errors
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def download(local: bool) -> Path:
        return Path(
            snapshot_download(
                name,
                repo_type=repo_type,
                revision=revision,
                allow_patterns=patterns,
                ignore_patterns=ignored,
                local_files_only=local,
            )
        )

    failures = (OSError, ValueError, httpx.HTTPError)
    try:
        return download(local=False)
    except failures as error:
        try:
            return download(local=True)
        except failures:
            reasons = {
                GatedRepoError: "its owner has to give leave: ask on its page, and log in with `hf auth login`",
                RepositoryNotFoundError: "the hub has none of that name, or a private one: check the name",
                RevisionNotFoundError: "the hub has no such revision of it: copy the commit from its history",
            }
            reason = next((text for kind, text in reasons.items() if isinstance(error, kind)), None)
            if reason is None:
                reason = f"{' '.join(str(error).split())[:200]}: check the network, the name and the revision"
            raise UserError(
                f"{name} at revision {revision} cannot be downloaded and is not in the hub client's cache ({reason})"
            ) from error


def copy_model(hub: dict[str, str], folder: Path) -> None:
    """Put the files of a model of the hub into `folder`, whole or not at all.

    Args:
        hub: `model` (owner/name) and `revision` (a commit).
        folder: replaced if it is there.

    Raises:
        UserError: as `fetch`, and if the revision holds no weights in safetensors.
    """
    # What lies in folders of its own (onnx/, openvino/, ...) are other forms of the same model.
    snapshot = fetch("model", hub["model"], hub["revision"], MODEL_FILES, ["*/*"])
    if not list(snapshot.glob("*.safetensors")):
        raise UserError(
            f"{hub['model']} at revision {hub['revision']} has no weights in safetensors, and pickled ones are not read: "
            "name a revision that has them, or save the model with save_pretrained where you trust it and name that"
        )
    _link(snapshot, [path for pattern in MODEL_FILES for path in snapshot.glob(pattern)], folder)


def copy_corpus(hub: dict[str, str], folder: Path) -> None:
    """Put the data files of a corpus of the hub into `folder`, whole or not at all.

    Args:
        hub: `dataset` (owner/name), `revision` (a commit) and `files` (a pattern of its paths).
        folder: replaced if it is there.

    Raises:
        UserError: as `fetch`, and if no file has such a path.
    """
    snapshot = fetch("dataset", hub["dataset"], hub["revision"], [hub["files"]], ["*.py"])
    files = [path for path in snapshot.rglob("*") if path.is_file()]
    chosen = [
        path for path in files if fnmatch(path.relative_to(snapshot).as_posix(), hub["files"])
    ]
    if not chosen:
        raise UserError(
            f"{hub['dataset']} at revision {hub['revision'][:8]} has no files {hub['files']!r}: check `files`"
        )
    _link(snapshot, chosen, folder)


def _link(snapshot: Path, files: list[Path], folder: Path) -> None:
    """Hard links to the cache's files, or copies where it lies on another disk."""
    with atomic_directory(folder) as partial:
        for path in files:
            target = partial / path.relative_to(snapshot)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), target)
            except OSError:
                shutil.copyfile(path, target)
