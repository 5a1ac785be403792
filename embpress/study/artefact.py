"""Records of the folders that a study fits and trains. Imports no torch."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FINETUNED = "finetuned"
ON_TEXT = "students_on_text"
STUDENTS = "students"
"""Stages of training."""


@dataclass(frozen=True)
class Artefact:
    """A folder with the compressed matrices of one variant at one ratio, or a student on them."""

    folder: Path
    variant: str
    ratio: float
    """The target ratio; 1 for a control, which has none."""
    seed: int

    @classmethod
    def below(cls, root: Path, variant: str, ratio: float, seed: int) -> "Artefact":
        """The artefact at `{root}/seed{seed}/{variant}/{ratio:g}`."""
        return cls(root / f"seed{seed}" / variant / ratio_name(ratio), variant, ratio, seed)

    @property
    def name(self) -> str:
        """Key of the artefact's outcomes in its variant's file."""
        return ratio_name(self.ratio)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Artefact":
        """Inverse of `to_json`."""
        return cls(**value | {"folder": Path(value["folder"])})

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"folder": str(self.folder)}


@dataclass(frozen=True)
class TrainedModel:
    """The folder of a model that a study trains: a fine-tuned checkpoint, or a student."""

    folder: Path
    stage: str
    """FINETUNED, ON_TEXT or STUDENTS."""
    task: str
    seed: int
    variant: str = ""
    """Empty for a checkpoint, which is not compressed."""
    ratio: float | None = None
    """The target ratio of a student; None for a checkpoint."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TrainedModel":
        """Inverse of `to_json`."""
        return cls(**value | {"folder": Path(value["folder"])})

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"folder": str(self.folder)}


def ratio_name(ratio: float) -> str:
    """Name of a ratio in folders and files of outcomes, such as "4" or "2.5"."""
    return f"{ratio:g}"
