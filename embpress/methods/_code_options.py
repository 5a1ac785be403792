"""Options of the code of whole models: ingredients that an ablation or a baseline leaves out."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from ..errors import UserError

OTHERS_OF_GPTQ = ("column_steps", "row_steps", "one_level", "measured", "trellis")
OTHERS_OF_ENTQUANT = ("feedback", "column_steps", "row_steps", "calibration", "measured", "trellis")
OTHERS_OF_DRIFT = ("one_level",)


@dataclass(frozen=True)
class CodeOptions:
    """Ingredients that an ablation or a baseline leaves out, and those of a baseline alone."""

    feedback: bool = True
    """Feed rounding errors back to later columns, as GPTQ does."""
    column_steps: bool = True
    """Step of a column c / L_jj; otherwise one step for all columns, as GPTQ has."""
    row_steps: bool = True
    """Step of a row by the diagonal of G; otherwise its mean serves all rows."""
    one_level: bool = True
    """One water level for all matrices; otherwise the same bits per weight for each."""
    calibration: bool = True
    """Moments of calibration texts; otherwise relative errors count alike, data-free."""
    measured: bool = True
    """Importance of each matrix by the divergence of the model in which it alone is coded;
    otherwise by its moments."""
    trellis: bool = True
    """Trellis-coded quantization along columns; otherwise each weight is rounded alone."""
    drift: bool = False
    """Drift correction, of WaterSIC: each layer is corrected for the errors of the layers that are
    coded before it (see `models.drift_correction`). Each has bits of its own: `one_level` is left
    out then."""
    entquant: bool = False
    """EntQuant, a baseline: its step for each row, integers rounded to the nearest, no data. All
    but `one_level` is left out then."""
    gptq: bool = False
    """GPTQ, a baseline: integers of one width with a scale for each group of columns, without an
    entropy code. All but `feedback` and `calibration` is left out then."""

    def __post_init__(self) -> None:
        """Set the options of ingredients that a baseline does not have to False.

        Raises:
            UserError: if the options are of two baselines.
        """
        baselines = {
            "entquant": OTHERS_OF_ENTQUANT,
            "gptq": OTHERS_OF_GPTQ,
            "drift": OTHERS_OF_DRIFT,
        }
        given = [name for name in baselines if getattr(self, name)]
        if len(given) > 1:
            raise UserError(f"options {' and '.join(given)} are two codes: give one of them")
        for baseline in given:
            for name in baselines[baseline]:
                object.__setattr__(self, name, False)

    @classmethod
    def parse(cls, options: Mapping[str, object]) -> "CodeOptions":
        """From the options of a study's entry.

        Raises:
            UserError: if there is no such option, or its value is neither true nor false.
        """
        known = [field.name for field in fields(cls)]
        for name, value in options.items():
            if name not in known:
                raise UserError(
                    f"a code of all matrices has no option {name!r}; it has {', '.join(known)}"
                )
            if not isinstance(value, bool):
                raise UserError(f"option {name} is {value!r}, but must be true or false")
        return cls(**options)  # type: ignore[arg-type]


ALL = CodeOptions()

_WATERSIC = {"row_steps": False, "one_level": False, "trellis": False, "measured": False}
BASELINES: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        "WaterSIC's core": _WATERSIC,
        "GPTQ, groups of 64": {"gptq": True},
        "Entropy-coded GPTQ": _WATERSIC | {"column_steps": False},
        "Entropy-coded integers, data-free": {
            "calibration": False,
            "feedback": False,
            "trellis": False,
        },
        "EntQuant": {"entquant": True},
    }
)
"""Options of codes as others have them, by label."""
