"""Trim the vocabulary of a checkpoint as a method of a study: model and tokenizer together.

The artefact holds, beside the matrix of the kept rows and RESULT,

    tokenizer.json, ...       the trimmed tokenizer, with which the artefact is evaluated
    kept_ids.safetensors      ids of the kept rows, by which the evaluation trims the other weights
"""

import math
from collections.abc import Callable

from .. import storage
from ..data.token_counts import read_counts
from ..errors import InfeasibleRatio
from ..export.trimming import trim_vocabulary
from ..fidelity.record import RESULT, Fitted, Infeasible
from ..files import atomic_directory, write_json
from ..methods import TRIMMING
from ..models.checkpoints import read_metadata
from ..models.pretrained import load_dense_model
from ..models.tokenization import load_tokenizer
from ..models.vocabulary import write_kept_ids
from ..study.artefact import Artefact
from .compression import FitInputs


def trim_checkpoint(
    inputs: FitInputs, artefact: Artefact, progress: Callable[[str], None]
) -> Fitted | Infeasible:
    """Trim a checkpoint to the most frequent tokens that reach a ratio, and write an artefact.

    What is stored is the dense float32 matrix of the kept rows. Weights of an untied head and of
    biases that leave with their tokens are not counted among the model's others.

    Args:
        inputs: checkpoint and token counts.
        artefact: the folder to write, with the target ratio.
        progress: called with a line about the result.

    Returns:
        The content of RESULT. A ratio below which the tokens that must stay are too many is a
        result, not an error.

    Raises:
        UserError: if the tokenizer cannot be trimmed.
    """
    model = load_dense_model(inputs.checkpoint).float()
    tokenizer = load_tokenizer(inputs.checkpoint)
    shape = read_metadata(inputs.checkpoint)["shape"]
    before = model.num_parameters()
    with atomic_directory(artefact.folder) as folder:
        result: Fitted | Infeasible
        try:
            trimmed = trim_vocabulary(model, tokenizer, read_counts(inputs.counts), artefact.ratio)
        except InfeasibleRatio as reason:
            result = Infeasible(str(reason))
        else:
            settings = {"method": TRIMMING, "ratio": artefact.ratio, "seed": artefact.seed}
            storage.save(trimmed.matrix, folder, settings)
            trimmed.tokenizer.save_pretrained(folder)
            write_kept_ids(trimmed.ids, folder)
            n_rows = len(trimmed.ids)
            progress(f"{n_rows} of {shape[0]} tokens kept")
            others = read_metadata(inputs.checkpoint)["parameters"] - math.prod(shape)
            others -= before - model.num_parameters() - (shape[0] - n_rows) * shape[1]
            result = Fitted(
                stored_bits=trimmed.matrix.stored_bits,
                stored_floats=n_rows * shape[1],
                ratio=32 * math.prod(shape) / trimmed.matrix.stored_bits,
                other_bits=32 * others,
            )
        write_json(folder / RESULT, result.to_json())
    return result
