"""Write a result of a study as an exported model, which `embpress.load` reads.

The compressed matrices are those that the study evaluated, of the embedding alone or of layers too,
and the other weights those of the checkpoint or of the student that was trained on the matrices.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from .. import storage
from ..errors import UserError
from ..export.carried_files import find_carried_files
from ..export.exported_model import write_exported_model
from ..export.manifest import MANIFEST, About, FitRecord
from ..export.trimming import tokenizer_files
from ..export.whole_model import measure_dense_sizes
from ..fidelity.record import Infeasible, read_result
from ..files import output_folder, read_json, replace_directory, summarize_error
from ..formats.dense import DenseRows
from ..models.coded_weights import CodedWeights
from ..models.compressed_model import (
    MATRIX_LIST,
    find_layer,
    load_other_weights,
    read_matrix_list,
)
from ..models.embedding import (
    OTHER_WEIGHTS,
    EmbeddingSlot,
    find_embedding,
    untie_head,
)
from ..models.pretrained import load_dense_model
from ..models.tokenization import load_tokenizer
from ..models.vocabulary import read_kept_ids, trim_model
from ..study.artefact import Artefact, ratio_name
from ..study.fields import nearest
from ..study.folders import checkpoint_folder, evaluated_artefacts
from ..study.layer_kinds import EMBEDDING
from ..study.study import Study
from ..tasks import parse_entry

PROVENANCE = "provenance.json"
"""File of a study's results that holds the study."""


@dataclass(frozen=True)
class StudyResult:
    """One row of a study's scores."""

    task: str
    method: str
    """Name of the entry under `methods:`."""
    ratio: float | None = None
    """The target ratio; None if the entry has one only."""
    seed: int | None = None
    """None for the study's first."""


def export_study_result(results: Path, chosen: StudyResult, out: Path) -> None:
    """Write what a study evaluated as an exported model.

    If layers are compressed too, all weights that are not compressed are stored in 16 bits.

    Args:
        results: folder of a finished study, with its checkpoints and compressed matrices.
        chosen: which result.
        out: folder to write; an earlier exported model is replaced, anything else refused.

    Raises:
        UserError: if the study has no such result, or its folders are missing.
    """
    out = output_folder(out, MANIFEST)
    study = _read_study(results)
    artefact = _find_artefact(study, results, chosen)
    result = read_result(artefact.folder)
    if isinstance(result, Infeasible):
        raise UserError(f"{chosen.method} has no result at {artefact.ratio:g}x: {result.reason}")
    checkpoint = checkpoint_folder(study, study.checkpoint_of(chosen.task), artefact.seed, results)
    if not checkpoint.is_dir():
        raise _missing(checkpoint)
    model = load_dense_model(checkpoint).float()
    before = measure_dense_sizes(model)
    if study.tasks[chosen.task].keeps_dense_head:
        untie_head(model)
    kept_ids = read_kept_ids(artefact.folder)
    if kept_ids is not None:
        trim_model(model, kept_ids)
    slot, layers = _place_matrices(model, artefact.folder)
    variant = study.variants[chosen.method]
    options: dict[str, Any] = {"task": chosen.task, "study": study.name}
    fit = FitRecord(
        method=variant.method,
        options=options | dict(variant.fit_settings(artefact.ratio).matrices[0].options),
        ratio=artefact.ratio,
        seed=artefact.seed,
        counts=True,
        counts_source=f"the corpus {study.tasks[chosen.task].corpus} of the study",
    )
    with replace_directory(out, MANIFEST) as partial:
        files = find_carried_files(checkpoint)
        if kept_ids is not None:
            load_tokenizer(artefact.folder).save_pretrained(partial)
            replaced = tokenizer_files(load_tokenizer(checkpoint))
            files = [file for file in files if file.name not in replaced]
        about = About(made=fit, before=before)
        write_exported_model(model, slot, about, partial, files, layers)


def _read_study(results: Path) -> Study:
    """The study of a folder of results."""
    file = results / PROVENANCE
    try:
        return Study.from_config(read_json(file)["study"], parse_entry)
    except FileNotFoundError as error:
        raise UserError(
            f"{results} holds no finished study: {PROVENANCE} is missing; name the folder "
            "`results` of a study that has run to its end"
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{file} holds no study ({summarize_error(error)}): run the study again"
        ) from error


def _find_artefact(study: Study, results: Path, chosen: StudyResult) -> Artefact:
    """The folder of what the study evaluated.

    Raises:
        UserError: if there is no such task, method, ratio, seed or folder.
    """
    if chosen.task not in study.tasks:
        hint = nearest(chosen.task, list(study.tasks))
        raise UserError(f"the study has no task {chosen.task!r}{hint}")
    variants = [v.name for v in study.variants_of(chosen.task) if not v.is_control]
    if chosen.method not in variants:
        hint = nearest(chosen.method, variants)
        raise UserError(f"task {chosen.task} has no compressed method {chosen.method!r}{hint}")
    seed = study.seeds[0] if chosen.seed is None else chosen.seed
    if seed not in study.seeds:
        known = ", ".join(map(str, study.seeds))
        raise UserError(f"the study has no seed {seed}; it has {known}")
    artefacts = evaluated_artefacts(study, chosen.task, chosen.method, seed, results)
    by_ratio = {artefact.ratio: artefact for artefact in artefacts}
    ratio = chosen.ratio if chosen.ratio is not None or len(by_ratio) > 1 else min(by_ratio)
    if ratio not in by_ratio:
        known = ", ".join(ratio_name(r) for r in by_ratio)
        asked = "none is named" if ratio is None else f"not at {ratio:g}"
        raise UserError(f"{chosen.method} runs at the ratios {known}, {asked}: name one of them")
    if not by_ratio[ratio].folder.is_dir():
        raise _missing(by_ratio[ratio].folder)
    return by_ratio[ratio]


def _missing(folder: Path) -> UserError:
    """The error for a folder that a finished study has."""
    return UserError(f"there is no folder {folder}: run the study again to its end")


def _place_matrices(
    model: PreTrainedModel, folder: Path
) -> tuple[EmbeddingSlot, list[CodedWeights] | None]:
    """Let a dense model run on the embedding of a folder of compressed matrices.

    Returns:
        Its embedding slot, and the compressed layers; None if the embedding alone is compressed.

    Raises:
        UserError: if matrices and model do not fit.
    """
    if (folder / OTHER_WEIGHTS).is_file():
        load_other_weights(model, folder)
    names = {id(module): name for name, module in model.named_modules()}
    embedding = find_embedding(model)[1].weight.detach()
    slot = EmbeddingSlot(model)
    matrix = None
    layers = []
    for stored in read_matrix_list(folder):
        loaded = storage.load(folder / stored.folder)
        if stored.kind == EMBEDDING:
            matrix = loaded
            continue
        modules = [find_layer(model, layer)[1] for layer in stored.layers]
        weights = tuple(f"{names[id(module)]}.weight" for module in modules)
        is_transposed = isinstance(modules[0], Conv1D)
        layers.append(CodedWeights(stored.folder, weights, is_transposed, loaded))
    if matrix is None:
        matrix = DenseRows((embedding.shape[0], embedding.shape[1]), embedding)
    slot.set_matrix(matrix)
    return slot, layers if (folder / MATRIX_LIST).is_file() else None
