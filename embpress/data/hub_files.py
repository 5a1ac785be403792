"""Download files of models and data sets from the Hugging Face hub, at a pinned revision.

They are read from the hub client's own cache, where a machine without network finds what another
one downloaded. Only safetensors weights, tables and texts are downloaded, never code or pickles.
"""

import os
import shutil
from fnmatch import fnmatch
from pathlib import Path

from ..errors import UserError
from ..files import atomic_directory
from ..study.model_entry import HubFiles, HubModel

MODEL_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
"""Weights and their index, configs, and vocabularies (vocab.txt, merges.txt, tokenizer.json,
SentencePiece's *.model)."""


def download_snapshot(
    repo_type: str, name: str, revision: str, patterns: list[str], ignored: list[str]
) -> Path:
    """Download files of a revision; without network, use those in the hub client's cache.

    Args:
        repo_type: "model" or "dataset".
        name: owner/name.
        revision: a commit.
        patterns: patterns of the files to download.
        ignored: patterns of files to leave out, though they match.

    Returns:
        The folder of the revision in the cache.

    Raises:
        UserError: if the files can neither be downloaded nor are in the cache.
    """
    import httpx  # the hub client raises its network errors
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
                GatedRepoError: "access is restricted: request access on its page, and log in with "
                "`hf auth login`",
                RepositoryNotFoundError: "the hub has no public repository of this name: check the "
                "name",
                RevisionNotFoundError: "the repository has no such revision: copy the commit from "
                "its history",
            }
            other = " ".join(str(error).split())[:200]
            other = f"{other}: check the network, the name and the revision"
            reason = next((r for kind, r in reasons.items() if isinstance(error, kind)), other)
            raise UserError(
                f"{name} at revision {revision} cannot be downloaded and is not in the hub "
                f"client's cache ({reason})"
            ) from error


def copy_model(hub: HubModel, folder: Path) -> None:
    """Write the files of a model of the hub to `folder`, completely or not at all.

    Args:
        hub: name and pinned revision.
        folder: the folder to write; replaced if it exists.

    Raises:
        UserError: as `download_snapshot`, and if the revision has no weights in safetensors.
    """
    # Subfolders (onnx/, openvino/, ...) contain the same model in other formats.
    snapshot = download_snapshot("model", hub.model, hub.revision, MODEL_FILES, ["*/*"])
    if not list(snapshot.glob("*.safetensors")):
        raise UserError(
            f"{hub.model} at revision {hub.revision} has no weights in safetensors, and "
            "pickled ones are not read: name a revision that has them, or, if you trust the model, "
            "save it with save_pretrained and use `path`"
        )
    _link_files(
        snapshot, [path for pattern in MODEL_FILES for path in snapshot.glob(pattern)], folder
    )


def copy_corpus(hub: HubFiles, folder: Path) -> None:
    """Write the data files of a corpus of the hub to `folder`, completely or not at all.

    Args:
        hub: name, pinned revision and pattern of paths.
        folder: the folder to write; replaced if it exists.

    Raises:
        UserError: as `download_snapshot`, and if no file matches.
    """
    snapshot = download_snapshot("dataset", hub.dataset, hub.revision, [hub.files], ["*.py"])
    files = [path for path in snapshot.rglob("*") if path.is_file()]
    chosen = [path for path in files if fnmatch(path.relative_to(snapshot).as_posix(), hub.files)]
    if not chosen:
        raise UserError(
            f"{hub.dataset} at revision {hub.revision[:8]} has no files {hub.files!r}: "
            "check `files`"
        )
    _link_files(snapshot, chosen, folder)


def _link_files(snapshot: Path, files: list[Path], folder: Path) -> None:
    """Write hard links to the cache's files, or copies if the cache is on another disk."""
    with atomic_directory(folder) as partial:
        for path in files:
            target = partial / path.relative_to(snapshot)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), target)
            except OSError:
                shutil.copyfile(path, target)
