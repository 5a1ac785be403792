"""Settings of fine-tuning, distillation and training on text. Imports no torch."""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from .fields import Frozen
from .validation_errors import refuse

Value = TypeVar("Value")
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Precision = Literal["fp32", "bf16"]
Term = Literal["embeddings", "attention", "hidden", "logits", "task"]
TextTerm = Literal["embeddings", "attention", "hidden", "task"]


def _form(value: object) -> str:
    """Which branch of `Searched` a value belongs to."""
    return "a list" if isinstance(value, (list, tuple)) else "one value"


Searched = Annotated[
    Annotated[Value, Tag("one value")]
    | Annotated[tuple[Value, ...], Field(strict=False), Tag("a list")],
    Discriminator(_form),
]
"""A setting, or a list of settings of which the best is chosen."""


class Training(Frozen):
    """Settings of a training run."""

    epochs: Count = Field(description="Passes over the training rows.")
    batch_size: Count = Field(description="Rows in a batch.")
    learning_rate: Positive = Field(
        description="The peak, which is reached after the warm-up; then it falls linearly to 0."
    )
    warmup: Share = Field(default=0.1, description="Share of the steps that warm up.")
    weight_decay: NotNegative = Field(
        default=0.0, description="Weight decay of matrices; biases and norms have none."
    )
    accumulation: Count = Field(
        default=1, description="Batches whose gradients are averaged for one step."
    )
    precision: Precision = Field(
        default="fp32", description="bf16 runs the forward pass under torch's autocast."
    )
    patience: Count | None = Field(
        default=None,
        description="Stop after this many epochs without a lower loss on a held-out tenth of the "
        "training rows; by default all rows are trained on.",
    )
    checkpoint_steps: Count = Field(
        default=500, description="Steps between the checkpoints from which a killed job resumes."
    )

    def options(self) -> dict[str, Any]:
        """Settings that the study gives, as keyword arguments of the training loop."""
        return self.model_dump(include=set(Training.model_fields), exclude_unset=True)


def _description(setting: str) -> str:
    """Description of a setting of `Training`."""
    return str(Training.model_fields[setting].description)


class FineTuning(Frozen):
    """Settings of fine-tuning.

    Of settings that are lists every combination is tried, and the one with the best score on the
    share `held_out` of the training examples is used.
    """

    epochs: Searched[Count] = Field(description=_description("epochs"))
    batch_size: Searched[Count] = Field(description=_description("batch_size"))
    learning_rate: Searched[Positive] = Field(description=_description("learning_rate"))
    warmup: Searched[Share] = Field(default=0.1, description=_description("warmup"))
    weight_decay: Searched[NotNegative] = Field(
        default=0.0, description=_description("weight_decay")
    )
    accumulation: Searched[Count] = Field(default=1, description=_description("accumulation"))
    precision: Precision = Field(default="fp32", description=_description("precision"))
    patience: Searched[Count] | None = Field(default=None, description=_description("patience"))
    checkpoint_steps: Count = Field(default=500, description=_description("checkpoint_steps"))
    held_out: float | None = Field(
        default=None,
        gt=0,
        le=0.5,
        description="Share of the training examples, as whole groups, on which the values of lists "
        "are compared.",
    )

    @property
    def searched(self) -> dict[str, tuple[Any, ...]]:
        """Settings that are lists, with their values."""
        return {name: value for name, value in self if isinstance(value, tuple)}

    @property
    def is_searched(self) -> bool:
        """Whether any setting is a list."""
        return bool(self.searched)

    def training(self) -> Training:
        """Settings of one run.

        Raises:
            ValidationError: if a setting is still a list.
        """
        return Training.model_validate(self.options())

    def options(self) -> dict[str, Any]:
        """Settings that the study gives, without `held_out`."""
        return self.model_dump(exclude={"held_out"}, exclude_unset=True)

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        """A list holds at least two different values, and only lists need held-out examples."""
        for key, values in self.searched.items():
            if len(values) < 2:
                raise refuse(
                    f"{list(values)} leaves nothing to choose from: list two values or more, or "
                    "give one value without a list",
                    key,
                )
            twice = next((value for value in values if values.count(value) > 1), None)
            if twice is not None:
                raise refuse(f"{twice} is listed twice: remove one", key)
        if self.searched and self.held_out is None:
            raise refuse(
                "'held_out' is missing: the share of the training examples on which the best "
                f"{next(iter(self.searched))} is chosen"
            )
        if not self.searched and self.held_out is not None:
            raise refuse("no setting has a list of values to choose from: remove it", "held_out")
        return self


class TextStage(Training):
    """First stage of distillation: the student imitates the pre-trained model on running text."""

    corpus: str = Field(description="Corpus whose counted texts are read.")
    tokens: int = Field(ge=256, description="Tokens of text.")
    block: int = Field(default=128, ge=8, description="Tokens of a training example.")
    terms: Annotated[tuple[TextTerm, ...], Field(strict=False)] = Field(
        default=("embeddings", "attention", "hidden", "task"),
        min_length=1,
        description="Terms of the loss; `task` predicts masked tokens and needs a model with a "
        "head for them.",
    )


def _stage_form(value: object) -> str:
    """Which branch of `Distillation.stage1` a value belongs to."""
    return "a task" if isinstance(value, str) else "own settings"


class Distillation(Frozen):
    """How compress_then_distil trains students to imitate the fine-tuned model `checkpoint`."""

    terms: Annotated[tuple[Term, ...], Field(strict=False)] = Field(
        default=("embeddings", "attention", "hidden", "logits", "task"),
        min_length=1,
        description="Terms of the loss; [task] alone trains without a teacher.",
    )
    stage1: (
        Annotated[
            Annotated[str, Tag("a task")] | Annotated[TextStage, Tag("own settings")],
            Discriminator(_stage_form),
        ]
        | None
    ) = Field(
        default=None,
        description="Train on text first: the settings, or the name of a task whose students, "
        "trained that way, are used.",
    )
    stage2: Training = Field(description="Training on the task's rows.")
