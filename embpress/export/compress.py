"""Compress a whole model: a transformers folder in, a self-contained artefact out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .. import storage
from ..data.counts import counts_from_file
from ..errors import UserError
from ..files import check_replaceable, whole_folder
from ..formats.dense import DenseRows
from ..methods import compress
from ..methods._base import Context
from ..models.embedding import CompressedEmbedding, EmbeddingSlot, WholeMatrixWanted, embedding_of
from ..models.pretrained import open_dense, special_ids, tokenizer_of
from .artefact import ABOUT, REST, write

TOKENIZER_FILES = (
    *(
        "tokenizer*",
        "vocab*",
        "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json",
        "*.model",
        "bpe.codes",
    ),
    *("chat_template*", "preprocessor_config.json", "processor_config.json", "LICENSE*"),
)
"""What is copied as it is. Weights, code and pickles are not."""
TEXT_FILES = {".json", ".txt", ".model", ".jinja", ".codes", ".md", ".vocab", ""}


@dataclass(frozen=True)
class Summary:
    """Sizes in bytes before and after, and the ratio reached."""

    method: str
    shape: tuple[int, int]
    embedding_before: int
    """As the model stores it: of float16 weights, half of what the ratio starts from."""
    embedding_after: int
    model_before: int
    model_after: int
    ratio: float
    """Dense fp32 bits of the embedding / bits stored."""
    out: Path

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"shape": list(self.shape), "out": str(self.out)}


@dataclass(frozen=True)
class Source:
    """A model that is to be compressed, and what a fit may know of it."""

    model: PreTrainedModel
    matrix: Tensor
    """(V, d), in the type of the weights."""
    context: Context


def open_source(
    folder: Path,
    counts: Path | Tensor | None,
    seed: int,
    progress: Callable[[str], None] = lambda message: None,
) -> Source:
    """Open a transformers folder for compression.

    Raises:
        UserError: if the folder holds no model that can be compressed, or the counts are not its
            own.
    """
    if (folder / ABOUT).is_file():
        raise UserError(f"{folder} is compressed already: take the model that it was made from")
    model = open_dense(folder)
    matrix = embedding_of(model)[1].weight.detach()
    tokenizer = tokenizer_of(folder)
    if isinstance(counts, Tensor):
        if counts.shape != matrix.shape[:1]:
            raise UserError(
                f"the counts are of shape {tuple(counts.shape)}, the model has {len(matrix)} rows: count anew"
            )
    elif counts is not None:
        counts = counts_from_file(counts, len(matrix), tokenizer)
    specials = special_ids(model.config, tokenizer, len(matrix))
    return Source(
        model, matrix, Context(counts=counts, special_ids=specials, seed=seed, progress=progress)
    )


def compress_model(
    model: str | Path,
    out: str | Path,
    method: str,
    ratio: float,
    *,
    counts: str | Path | Tensor | None = None,
    seed: int = 0,
    options: dict[str, Any] | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Summary:
    """Compress the embedding of a local transformers model and write the whole model to `out`, for
    `load`.

    Args:
        model: folder with config.json and safetensors weights, in one file or in shards.
        out: folder to write; an earlier artefact is replaced, anything else refused.
        method: name of a method.
        ratio: dense fp32 bits of the embedding / bits to store, at least.
        counts: (V,) token counts or a file of them, for methods that go by frequency.
        seed: seeds the fit.
        options: the method's options.
        progress: told how the fit goes.

    Raises:
        UserError: if something given cannot be used; nothing is written then.
    """
    folder = Path(model)
    out = Path(out)
    check_replaceable(out, ABOUT)
    source = open_source(
        folder, Path(counts) if isinstance(counts, str) else counts, seed, progress
    )
    slot = EmbeddingSlot(source.model)
    check_lookup(embedding_of(source.model)[1])
    embedding_before = source.matrix.nbytes
    model_before = _bytes(source.model)
    compressed = compress(source.matrix, method, ratio, source.context, **(options or {}))
    slot.put(compressed)
    check_runs(source.model)
    about = {
        "made": {
            "method": method,
            "options": options or {},
            "ratio": ratio,
            "seed": seed,
            "counts": counts is not None,
        },
        "before": {
            "embedding": embedding_before,
            "model": model_before,
            "dtype": str(source.matrix.dtype).removeprefix("torch."),
        },
    }
    with whole_folder(out, ABOUT) as partial:
        write(source.model, slot, about, partial, tokenizer_files(folder))
    rest = (out / REST).stat().st_size - storage.header_bytes(out / REST)
    after = compressed.stored_bits // 8
    return Summary(
        method,
        compressed.shape,
        embedding_before,
        after,
        model_before,
        rest + after,
        compressed.ratio,
        out,
    )


def tokenizer_files(folder: Path) -> list[Path]:
    """Files of the tokenizer, without anything that runs."""
    found = {path for pattern in TOKENIZER_FILES for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file() and path.suffix in TEXT_FILES)


def check_lookup(dense: nn.Embedding) -> None:
    """Compare the model's own lookup with ours on a few rows of the dense matrix, scale included.

    Raises:
        UserError: if the model's layer does something else.
    """
    rows = dense.weight.detach()[:8]
    ours = CompressedEmbedding(None, dense)
    ours.matrix = DenseRows((rows.shape[0], rows.shape[1]), rows)
    ids = torch.arange(len(rows))
    if not torch.allclose(dense(ids), ours(ids), rtol=0, atol=0, equal_nan=True):
        raise UserError(
            f"the embedding is a {type(dense).__name__}, which does more than look rows up and scale them"
        )


def check_runs(model: PreTrainedModel) -> None:
    """Run two tokens through, which tells a model that reads its embedding in a way that no
    compressed one allows.

    Raises:
        UserError: if it does.
    """
    try:
        with torch.no_grad():
            model(input_ids=torch.tensor([[0, 1]]))
    except WholeMatrixWanted:
        raise
    except Exception:  # a model that wants pictures or decoder inputs too is no less fine
        return


def _bytes(model: PreTrainedModel) -> int:
    """Bytes of all weights and stored buffers, what is tied once."""
    return sum(
        t.nbytes for t in {id(t): t for t in model.state_dict(keep_vars=True).values()}.values()
    )
