"""Exported sentence-transformers models in mteb.

    meta = model_meta("DIR-small")
    mteb.evaluate(meta, mteb.get_tasks(tasks=["STSBenchmark"]))

Needs the extra `mteb`.
"""

from pathlib import Path
from typing import Any

from mteb.models import ModelMeta, SentenceTransformerEncoderWrapper

from ..export.inspection import inspect
from ..export.manifest import MANIFEST
from ..files import sha256_of
from .sentence_transformers import load_sentence_transformer

MEBIBYTE = 2**20


def model_meta(folder: str | Path, name: str | None = None) -> ModelMeta:
    """Describe an exported model for mteb, so that its results stand beside those of variants.

    mteb stores results by name and revision. The revision is the start of the SHA-256 of the
    manifest, which lists the SHA-256 of every file.

    Args:
        folder: a folder that `compress_model` made from a sentence-transformers model.
        name: the dense model's name, `organization/model`; default: `embpress/` and the folder's.
            Method and ratio are appended.

    Raises:
        UserError: if the folder contains no exported model.
    """
    folder = Path(folder)
    content = inspect(folder)
    ratio = round(content.embedding_ratio, 2)
    variant = f"{content.method}-{ratio:g}x"
    described: dict[str, Any] = {
        "loader": _load,
        "loader_kwargs": {"folder": str(folder)},
        "name": f"{name or f'embpress/{folder.resolve().name}'}-{variant}",
        "revision": sha256_of(folder / MANIFEST)[:40],
        "adapted_from": name,
        "framework": ["Sentence Transformers", "PyTorch"],
        "memory_usage_mb": content.model_after / MEBIBYTE,
        "open_weights": True,
        "experiment_kwargs": {"method": content.method, "ratio": ratio},
    }
    return ModelMeta.create_empty(overwrites=described)


def _load(
    name: str,
    revision: str | None = None,
    *,
    folder: str,
    device: str | None = None,
    **experiment: object,
) -> SentenceTransformerEncoderWrapper:
    """Load a folder; mteb passes what `model_meta` describes."""
    return SentenceTransformerEncoderWrapper(load_sentence_transformer(folder, device=device))
