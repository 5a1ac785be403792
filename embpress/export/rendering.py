"""Summaries, inspections and rankings as plain text for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .compress import Summary
from .inspection import Inspection
from .ranking import Candidate, Ranking

if TYPE_CHECKING:  # importing it imports numba
    from .whole_model import WholeModelSummary
    from .whole_model_ranking import WholeModelRanking


def render_summary(summary: Summary) -> str:
    """What `compress_model` wrote."""
    rows = [["", "before", "after", "bits before / after"]]
    sizes = (
        ("embedding", summary.embedding_before, summary.embedding_after),
        ("model", summary.model_before, summary.model_after),
    )
    for name, before, after in sizes:
        rows.append([name, f"{before:,}", f"{after:,}", f"{before / max(after, 1):.2f}"])
    n_rows, d = summary.shape
    vocabulary = [f"vocabulary: {summary.n_rows:,} of {n_rows:,} tokens"]
    lookups_after = summary.embedding_after - summary.head_after
    head = [f"two matrices: {lookups_after:,} bytes of lookups, {summary.head_after:,} of the head"]
    return "\n".join(
        [
            _align_columns(rows),
            f"ratio {summary.ratio:.2f} (dense fp32 bits / bits stored) of a {n_rows} x {d} "
            "embedding",
            *(vocabulary if summary.n_rows < n_rows else []),
            *(head if summary.head_after else []),
            f"written to {summary.out}; load it with embpress.load({str(summary.out)!r})",
        ]
    )


def render_whole_model(summary: "WholeModelSummary") -> str:
    """What `compress_whole_model` wrote."""
    rows = [["matrix", "shape", "bytes", "bits per weight"]]
    for matrix in summary.matrices:
        n, d = matrix.shape
        rate = f"{matrix.bits / (n * d):.2f}"
        rows.append([matrix.name, f"{n} x {d}", f"{matrix.bits // 8:,}", rate])
    texts = "no calibration texts: errors relative to each matrix's variance count alike"
    if summary.calibration_texts:
        texts = (
            f"{summary.calibration_texts} calibration texts, {summary.calibration_tokens:,} tokens"
        )
    return "\n".join(
        [
            _align_columns(rows),
            texts,
            f"model {summary.model_before:,} bytes -> {summary.model_after:,}, of which "
            f"{summary.uncoded:,} are weights in 16 bits",
            f"ratio {summary.ratio:.2f} (dense fp32 bits / bits stored) of "
            f"{summary.parameters:,} parameters",
            f"written to {summary.out}; load it with embpress.load({str(summary.out)!r})",
        ]
    )


def render_inspection(inspection: Inspection) -> str:
    """Sizes of an exported model."""
    n_rows, d = inspection.shape
    tensors = [["tensor", "type", "shape", "bytes"]]
    for tensor in inspection.stored:
        shape = " x ".join(map(str, tensor.shape))
        tensors.append([tensor.name, tensor.dtype, shape, f"{tensor.bytes:,}"])
    layers = [["compressed layer", "format", "shape", "bytes", "bits per weight"]]
    own_head = [inspection.head] if inspection.head else []
    for layer in [*own_head, *inspection.layers]:
        shape = " x ".join(map(str, layer.shape))
        rate = f"{8 * layer.bytes / (layer.shape[0] * layer.shape[1]):.2f}"
        layers.append([layer.name, layer.format, shape, f"{layer.bytes:,}", rate])
    groups = [["not compressed", "bytes", "why"]]
    groups += [[group.name, f"{group.bytes:,}", group.why] for group in inspection.kept]
    disk_bytes = sum(inspection.files.values())
    vocabulary = [f"vocabulary: {n_rows:,} of {inspection.n_rows_before:,} tokens"]
    memory = [
        f'memory     {peak:,} bytes at most while embpress.load(DIR, decode="{decode}") runs'
        for decode, peak in inspection.load_memory.items()
    ]
    return "\n".join(
        [
            f"{inspection.architecture}, embedding {n_rows} x {d} compressed by "
            f"{inspection.method} (format {inspection.format})",
            *(vocabulary if n_rows < inspection.n_rows_before else []),
            f"layers on the compressed matrix: {', '.join(inspection.replaced)}",
            "",
            _align_columns(tensors),
            "",
            *([_align_columns(layers), ""] if len(layers) > 1 else []),
            f"embedding  {inspection.embedding_before:,} bytes as "
            f"{inspection.embedding_before_dtype} -> {inspection.embedding_after:,}; "
            f"ratio {inspection.embedding_ratio:.2f} (dense fp32 bits / bits stored)",
            f"model      {inspection.model_before:,} bytes -> {inspection.model_after:,}; "
            f"ratio {inspection.model_ratio:.2f} (as stored)",
            f"headers    {inspection.matrix_header:,} bytes for the matrix, "
            f"{inspection.rest_header:,} for the other weights"
            + (f", {inspection.layers_header:,} for the layers" if inspection.layers else ""),
            f"on disk    {disk_bytes:,} bytes in {len(inspection.files)} files, with the tokenizer",
            *memory,
            "",
            _align_columns(groups),
        ]
    )


def render_ranking(ranking: Ranking) -> str:
    """All methods of a ranking, and how retention was estimated."""
    has_estimates = ranking.retention_error == ranking.retention_error  # not NaN
    error_name = "weighted error" if ranking.counts_source else "error"
    rows = [["method", "bytes", "ratio", error_name, "rel. error", "cosine"]]
    if has_estimates:
        rows[0].append("retention (estimate)")
    rows += [_ranking_row(c, has_estimates) for c in ranking.candidates if c.fits]
    notes = [f"{c.method}: {c.note}" for c in ranking.candidates if not c.fits]
    lines = [
        f"at most {ranking.max_megabytes:g} MB (10^6 bytes) for the embedding matrix: "
        f"ratio {ranking.target_ratio:.2f} or more"
    ]
    lines.append(f"rows are weighted by token counts: {ranking.counts_source or 'none'}")
    lines += ["", _align_columns(rows)]
    if notes:
        lines += ["", *notes]
    if has_estimates:
        lines += [
            "",
            "retention: share of the uncompressed score, estimated from the weighted error by the "
            "study's scores over all tasks;",
            f"off by {ranking.retention_error:.1f} points on average for methods that are left out",
        ]
    return "\n".join(lines)


def render_whole_model_ranking(ranking: "WholeModelRanking") -> str:
    """All codes of a whole model at a size."""
    texts = "no calibration texts: ranked by the squared error relative to each matrix's variance"
    error = "squared error"
    if ranking.calibration_texts:
        texts = (
            f"ranked by the expected divergence from the dense model, in nats a text, on "
            f"{ranking.calibration_texts} texts of {ranking.calibration_tokens:,} tokens"
        )
        error = "divergence"
    unit = "" if ranking.calibration_texts else " %"
    rows = [["code", "bytes", "ratio", error]]
    rows += [
        [c.label, f"{c.bytes:,}", f"{c.ratio:.2f}", f"{c.loss:.4g}{unit}"]
        for c in ranking.candidates
    ]
    return "\n".join(
        [
            f"at most {ranking.max_megabytes:g} MB (10^6 bytes) for all weights: ratio "
            f"{ranking.target_ratio:.2f} or more",
            texts,
            "",
            _align_columns(rows),
        ]
    )


def _ranking_row(candidate: Candidate, has_estimates: bool) -> list[str]:
    """The cells of one method."""
    errors = (
        candidate.weighted_relative_error,
        candidate.relative_error,
        candidate.mean_cosine,
    )
    row = [candidate.method, f"{candidate.bytes:,}", f"{candidate.ratio:.2f}"]
    row += [f"{value:.4f}" for value in errors]
    return [*row, f"{candidate.retention:.1f} %"] if has_estimates else row


def _align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells, the first of them heads, with numbers aligned right and text left."""
    columns = []
    for cells in zip(*rows):
        width = max(map(len, cells))
        are_numbers = all(cell[:1].isdigit() and " x " not in cell for cell in cells[1:])
        columns.append([c.rjust(width) if are_numbers else c.ljust(width) for c in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns))
