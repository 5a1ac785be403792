"""What each kind of weight matrix costs, dense and compressed.

In every artefact of a whole model: a table of numbers.
"""

import json
import math
from typing import Any

import pandas

from ..fidelity.record import RESULT
from ..models.checkpoints import card
from ..study import config as study_config
from ..study.layer_kinds import KEPT
from ..study.matrix_choices import is_whole_model
from .aggregation import Evaluation, checkpoint_label

COLUMNS = [
    "model",
    "method",
    "target_ratio",
    "seed",
    "kind",
    "matrices",
    "dense_parameters",
    "floats",
    "bits",
]
COLUMNS += ["dense_flops", "flops", "relative_error"]
SUMS = ("matrices", "dense_bits", "bits", "dense_flops", "flops", "squared_error", "energy")


def module_sizes(config: dict[str, Any], evaluations: list[Evaluation]) -> pandas.DataFrame:
    """One row a kind of matrix of an artefact, and one for all that stays as it is.

    `floats` is how many an artefact stores, empty where integer codes carry the values. `flops` are
    floating-point operations of the matrices' products for `module_compression.TOKENS` tokens.
    `relative_error` is of all matrices of the kind together.
    """
    rows: dict[Any, list[dict[str, Any]]] = {}
    for evaluation in evaluations:
        if not is_whole_model(config["methods"][evaluation.variant]):
            continue
        about = {
            "model": checkpoint_label(config, evaluation.task),
            "method": evaluation.variant,
            "seed": evaluation.seed,
        }
        for folder in evaluation.artefacts:
            result = json.loads((folder / RESULT).read_text())
            if "infeasible" not in result:
                control = study_config.is_control(config, evaluation.variant)
                asked = about | {"target_ratio": None if control else float(folder.name)}
                parameters = card(evaluation.checkpoint)["parameters"]
                rows.setdefault(folder, [asked | row for row in _kinds(result, parameters)])
    return pandas.DataFrame([row for found in rows.values() for row in found], columns=COLUMNS)


def _kinds(result: dict[str, Any], parameters: int) -> list[dict[str, Any]]:
    """Sums over the matrices of each kind, and what else the model has."""
    rows = []
    for kind in dict.fromkeys(module["kind"] for module in result["modules"]):
        of_kind = [module for module in result["modules"] if module["kind"] == kind]
        total = {name: sum(module[name] for module in of_kind) for name in SUMS}
        floats = [module["floats"] for module in of_kind]
        rows.append(
            {name: total[name] for name in ("matrices", "bits", "dense_flops", "flops")}
            | {
                "kind": kind,
                "dense_parameters": total["dense_bits"] // 32,
                "floats": None if None in floats else sum(floats),
                "relative_error": math.sqrt(total["squared_error"] / total["energy"])
                if total["energy"]
                else None,
            }
        )
    kept = parameters - result["dense_floats"]
    return [*rows, {"kind": KEPT, "dense_parameters": kept, "floats": kept, "bits": 32 * kept}]
