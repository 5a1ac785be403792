"""Compress chosen weight matrices of a described checkpoint.

And say how near and how small each came out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio
from ..fidelity.record import RESULT
from ..files import atomic_directory, write_json
from ..formats._base import ROW_BLOCK, CompressedMatrix
from ..methods import compress, method_class
from ..methods._base import Context
from ..models.checkpoints import read_metadata
from ..models.compressed_model import RowRange, StoredMatrix, linear_weight, write_matrix_list
from ..models.embedding import find_embedding, load_model
from ..models.sensitivity_file import read_sensitivity
from ..study.layer_kinds import EMBEDDING, places
from ..study.matrix_choices import Choice, Entry, choices_of, with_preset
from .bit_allocation import Share, matrix_bits, shared_ratios

TOKENS = 128
"""Tokens for which floating-point operations are counted: the length of the papers' inputs."""


class Target(NamedTuple):
    """One matrix that is to be compressed.

    The embedding's, a layer's, or those of all layers of a kind, stacked.
    """

    part: StoredMatrix
    weights: list[Tensor]
    """(rows, d) each, of the same shape."""
    choice: Choice

    @property
    def shape(self) -> tuple[int, int]:
        """Of the stack."""
        return sum(len(weight) for weight in self.weights), self.weights[0].shape[1]


def compress_modules(
    checkpoint: Path,
    counts_file: Path,
    name: str,
    entry: Entry,
    ratio: float,
    seed: int,
    folder: Path,
    progress: Callable[[str], None],
    sensitivity_file: Path | None = None,
    patterns: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Fit methods to a checkpoint's matrices and write the artefact, for
    `CompressedModel.load_matrices`, and RESULT.

    Args:
        checkpoint: a described checkpoint.
        counts_file: token counts, for the embedding.
        name: of the entry.
        entry: of a config's `methods`, with `modules` or a `preset`.
        ratio: of the compressed matrices together, or with `budget: model` of the whole model.
        seed: seeds the fits.
        folder: where to write.
        progress: told how it goes.
        sensitivity_file: sensitivities of the model to rows of its matrices.
        patterns: names of the model's layers by kind, where they are not those of
            `modules.PATTERNS`.

    Returns:
        What RESULT holds. A ratio that cannot be reached is a result, not an error.

    Raises:
        UserError: if the model has no layer of a kind, or a matrix or an option cannot be used.
    """
    entry = with_preset(name, entry)
    targets = _targets(
        checkpoint, choices_of(name, entry), entry.get("share", "separate") == "layers", patterns
    )
    with atomic_directory(folder) as whole:
        try:
            ratios = _ratios(
                targets,
                ratio,
                read_metadata(checkpoint)["parameters"],
                entry.get("budget", "modules"),
            )
        except InfeasibleRatio as reason:
            result: dict[str, Any] = {"infeasible": str(reason)}
        else:
            context = Context(
                read_counts(counts_file), tuple(read_metadata(checkpoint)["special_ids"]), seed
            )
            found = []
            for number, (target, own) in enumerate(zip(targets, ratios)):
                progress(f"matrix {number + 1}/{len(targets)}: {target.part.folder}")
                about = _context(target, context, number, sensitivity_file)
                matrix = torch.cat(target.weights)
                compressed = compress(
                    matrix, target.choice.method, own, about, **_options(target.choice)
                )
                made = {
                    "method": target.choice.method,
                    "options": target.choice.options,
                    "ratio": own,
                    "seed": about.seed,
                }
                storage.save(compressed, whole / target.part.folder, made)
                found.append(_described(target, matrix, compressed))
            write_matrix_list([target.part for target in targets], whole)
            result = _summed(found)
        write_json(whole / RESULT, result)
    return result


def _targets(
    checkpoint: Path, choices: list[Choice], stacked: bool, patterns: dict[str, str] | None
) -> list[Target]:
    """The matrices, kind by kind and layer by layer."""
    model = load_model(checkpoint, "encoder")
    targets = []
    names = [name for name, _ in model.named_modules()]
    for choice in choices:
        if choice.kind == EMBEDDING:
            weight = find_embedding(model)[1].weight.detach()
            targets.append(Target(StoredMatrix(EMBEDDING, EMBEDDING), [weight], choice))
            continue
        of_kind = places(names, [choice.kind], patterns)
        weights = [
            linear_weight(model.get_submodule(p.name), p.name).detach().float() for p in of_kind
        ]
        if stacked:
            targets.append(
                Target(
                    StoredMatrix(choice.kind, choice.kind, tuple(p.name for p in of_kind)),
                    weights,
                    choice,
                )
            )
        else:
            targets += [
                Target(
                    StoredMatrix(f"{choice.kind}-{place.layer}", choice.kind, (place.name,)),
                    [weight],
                    choice,
                )
                for place, weight in zip(of_kind, weights)
            ]
    return targets


def _options(choice: Choice) -> dict[str, Any]:
    """A method's options, with what it takes by default for linear layers."""
    defaults = {} if choice.kind == EMBEDDING else method_class(choice.method).linear_defaults
    return defaults | choice.options


def _ratios(targets: list[Target], ratio: float, parameters: int, budget: str) -> list[float]:
    """A ratio for each matrix, by which all keep the budget."""
    methods = {
        target.choice.kind: method_class(target.choice.method)(**_options(target.choice))
        for target in targets
    }
    shares = [
        Share(t.part.folder, t.shape, methods[t.choice.kind], t.choice.ratio) for t in targets
    ]
    dense = sum(share.dense_bits for share in shares)
    others = 32 * parameters - dense if budget == "model" else 0
    return shared_ratios(shares, matrix_bits(ratio, dense, others))


def _context(
    target: Target, context: Context, number: int, sensitivity_file: Path | None
) -> Context:
    """What the fit of one matrix may know: a layer's rows are no tokens, and count alike."""
    # Random factors of two layers must not be the same; the embedding, which comes first, has the
    # seed itself.
    seed = context.seed + 1_000_003 * number
    rows = target.shape[0]
    sensitivity = (
        read_sensitivity(sensitivity_file, rows, target.part.layers) if sensitivity_file else {}
    )
    if target.part.kind == EMBEDDING:
        return Context(context.counts, context.special_ids, seed, sensitivity=sensitivity)
    return Context(torch.ones(rows, dtype=torch.int64), seed=seed, sensitivity=sensitivity)


def _described(target: Target, matrix: Tensor, compressed: CompressedMatrix) -> dict[str, Any]:
    """Sizes, operations for TOKENS tokens and error of one matrix."""
    n_places = len(target.part.layers)
    rows = target.shape[0]
    if target.part.kind == EMBEDDING:
        dense_flops = 0
        flops = compressed.decode_flops(TOKENS)
    else:
        of_layer = compressed if n_places == 1 else RowRange(compressed, 0, rows // n_places)
        dense_flops = 2 * TOKENS * matrix.numel()
        flops = n_places * of_layer.product_flops(TOKENS)
    blocks = torch.arange(rows).split(ROW_BLOCK)
    error = sum(
        float((matrix[ids] - compressed.rows(ids)).double().square().sum()) for ids in blocks
    )
    return {
        "kind": target.part.kind,
        "name": target.part.folder,
        "method": target.choice.method,
        "shape": list(target.shape),
        "matrices": max(1, n_places),
        "dense_bits": 32 * matrix.numel(),
        "bits": compressed.stored_bits,
        "floats": compressed.stored_floats,
        "ratio": compressed.ratio,
        "dense_flops": dense_flops,
        "flops": flops,
        "squared_error": error,
        "energy": float(matrix.double().square().sum()),
    }


def _summed(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What RESULT holds: the matrices, and their sums."""
    bits, dense = (sum(one[key] for one in found) for key in ("bits", "dense_bits"))
    floats = (
        None if any(one["floats"] is None for one in found) else sum(one["floats"] for one in found)
    )
    embedding = sum(one["dense_bits"] // 32 for one in found if one["kind"] == EMBEDDING)
    return {
        "stored_bits": bits,
        "stored_floats": floats,
        "ratio": dense / bits if bits else None,
        "dense_floats": dense // 32,
        "dense_embedding_floats": embedding,
        "modules": found,
    }
