"""Entries under `tasks:` of a study: what all kinds of tasks share. Imports no torch.

The keys of a kind of its own stand in its file in `embpress/tasks/`, as a subclass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from ..errors import UserError
from .fields import Frozen, Strings, nearest
from .task_data import FileSource, HubDataset, LabelledData
from .task_training import Distillation, FineTuning
from .validation_errors import refuse

STUDENT_PROTOCOLS = ("compress_then_finetune", "compress_then_distil")
SPLITS = ("train", "test")

TrainedProtocol = Annotated[
    Literal["finetune_then_compress", "compress_then_finetune", "compress_then_distil"],
    Field(description="When a model is trained and when it is compressed."),
]
LabelledProtocol = Literal[
    "finetune_then_compress", "compress_then_finetune", "compress_then_distil", "zero_shot"
]
ZeroShot = Annotated[Literal["zero_shot"], Field(description="No model is trained.")]


@dataclass(frozen=True)
class Metric:
    """How a score is called and read."""

    name: str
    label: str
    higher_is_better: bool = True
    percent: bool = True
    """Shown times 100."""
    of_itself: float | None = None
    """Of metrics that compare a model with the uncompressed one: the value of equal models.

    They have no retention, and no part in the mean of a task's metrics.
    """


class TaskEntry(Frozen):
    """A task of a study. Subclasses are the kinds of tasks."""

    known_metrics: ClassVar[tuple[Metric, ...]]
    """Metrics of the kind, the main one first."""
    has_labels: ClassVar[bool] = False
    """Whether rows with labels are read, on which a model may be fine-tuned."""
    scores_tokens: ClassVar[bool] = False
    """Whether scores are means over tokens, and so comparable only between equal tokenizers."""
    measures_sensitivity: ClassVar[bool] = False
    """Whether the sensitivity of a model that is fine-tuned for the kind can be measured."""

    label: str = Field(description="Name of the task in tables and figures.")
    kind: str = Field(description="A file in embpress/tasks.")
    protocol: str = Field(description="When a model is trained and when it is compressed.")
    model: str = Field(description="Entry under `models:`.")
    corpus: str = Field(
        description="Corpus whose token counts the methods and the weighted errors use."
    )
    methods: Annotated[Strings, Field(min_length=0)] | None = Field(
        default=None, description="Entries under `methods:` that run on the task; all by default."
    )
    footnote: str | None = Field(default=None, description="A note below tables.")

    @classmethod
    def metric_names(cls) -> tuple[str, ...]:
        """Names of all metrics of the kind."""
        return tuple(metric.name for metric in cls.known_metrics)

    @classmethod
    def default_metrics(cls) -> tuple[str, ...]:
        """Names of the metrics that tables show by default."""
        return cls.metric_names()

    @classmethod
    def own_metrics(cls) -> tuple[str, ...]:
        """Names of the metrics that do not compare a model with the uncompressed one."""
        return tuple(metric.name for metric in cls.known_metrics if metric.of_itself is None)

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """Names of the metrics that tables show, the main one first."""
        return self.default_metrics()

    @property
    def averaged_metrics(self) -> tuple[str, ...]:
        """Names of the metrics whose mean is the task's score in averages over tasks."""
        return tuple(name for name in self.reported_metrics if name in self.own_metrics())

    @property
    def reads_reference(self) -> bool:
        """Whether a metric compares a model with the uncompressed one."""
        return self.averaged_metrics != self.reported_metrics

    @property
    def is_student(self) -> bool:
        """Whether models are trained after their compression."""
        return self.protocol in STUDENT_PROTOCOLS

    @property
    def is_trained(self) -> bool:
        """Whether the task trains a model: not one without training, or of another task."""
        return False

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages whose wheels the task reads."""
        return ()

    @property
    def held_out_corpus(self) -> str | None:
        """Corpus whose held-out texts the task reads."""
        return None

    @property
    def keeps_dense_head(self) -> bool:
        """Whether an output head that is tied to the embedding stays uncompressed."""
        return False

    @property
    def input_length(self) -> tuple[int, str] | None:
        """Tokens of the longest input, and the key that sets them; None if no key does."""
        return None

    @property
    def urls(self) -> dict[str, str]:
        """Addresses of the files to download, by their sha256."""
        return {}

    def sources(self, splits: Sequence[str]) -> "dict[str, str | FileSource | HubDataset]":
        """Where each split is: a local file, a file to download, or a data set of the hub.

        Splits inside of a wheel are not listed: the wheel is the file.

        Args:
            splits: among SPLITS.
        """
        return {}

    def job_settings(self) -> dict[str, Any]:
        """The entry as JSON, without the keys that change no result of a job."""
        without = {"label", "methods", "footnote"}
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=without)

    def local_files(self) -> dict[str, Path]:
        """Files on this disk that the task reads, by their keys under `data`."""
        return {}

    def check_files(self, where: str) -> None:
        """Check that all local files exist.

        Args:
            where: dotted place of the entry.

        Raises:
            UserError: if a file does not exist.
        """
        for key, path in self.local_files().items():
            if not path.is_file():
                raise UserError(f"{where}.data.{key}: there is no file {path}")


class LabelledTaskEntry(TaskEntry):
    """A task whose examples are rows with a label."""

    has_labels: ClassVar[bool] = True

    protocol: LabelledProtocol = Field(
        description="When a model is trained and when it is compressed; `zero_shot` trains nothing."
    )
    data: LabelledData = Field(description="Where the rows are, and which columns are read.")
    metrics: Strings | None = Field(
        default=None, description="Metrics of the tables, the main one first; all by default."
    )
    checkpoint: str | None = Field(
        default=None, description="A fine-tuned task of the same labels whose model is evaluated."
    )
    train_examples: int | None = Field(
        default=None, ge=1, description="Training rows, drawn by a fixed seed; all by default."
    )
    test_examples: int | None = Field(
        default=None, ge=1, description="Test rows, drawn by a fixed seed; all by default."
    )
    max_length: int = Field(ge=4, description="Tokens of an example; longer ones are cut.")
    finetune: FineTuning | None = Field(
        default=None, description="How the model is fine-tuned. Lists of values are searched."
    )
    factors: Literal["trained", "frozen"] | None = Field(
        default=None,
        description="Students: whether the factors of compressed matrices are trained (default) or "
        "frozen, alike for every method.",
    )
    distil: Distillation | None = Field(
        default=None, description="How students of compress_then_distil are trained."
    )

    @classmethod
    def default_metrics(cls) -> tuple[str, ...]:
        """See base class."""
        return cls.model_fields["metrics"].default or cls.metric_names()

    @property
    def reported_metrics(self) -> tuple[str, ...]:
        """See base class."""
        return self.metrics or self.metric_names()

    @property
    def is_trained(self) -> bool:
        """See base class."""
        return self.is_student or (self.protocol != "zero_shot" and self.checkpoint is None)

    @property
    def is_one_file(self) -> bool:
        """Whether training and test rows are split out of one file under `train` and `test`."""
        data = self.data
        return self.is_trained and data.test is not None and data.train == data.test

    @property
    def input_length(self) -> tuple[int, str] | None:
        """See base class."""
        return self.max_length, "max_length"

    @property
    def trains_factors(self) -> bool:
        """Whether students train the factors of their compressed matrices."""
        return self.factors != "frozen"

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels that a head predicts; none where it predicts no labels."""
        return ()

    @property
    def packages(self) -> tuple[str, ...]:
        """See base class."""
        return (self.data.package,) if self.data.package is not None else ()

    @property
    def urls(self) -> dict[str, str]:
        """Addresses of the files to download, by their sha256."""
        sources = (self.data.train, self.data.test)
        return {source.sha256: source.url for source in sources if isinstance(source, FileSource)}

    def sources(self, splits: Sequence[str]) -> dict[str, str | FileSource | HubDataset]:
        """See base class."""
        if self.data.package is not None:
            return {}
        given = {split: getattr(self.data, split) for split in splits}
        return {
            split: source if self.data.hub is None else self.data.hub
            for split, source in given.items()
            if source is not None
        }

    def local_files(self) -> dict[str, Path]:
        """See base class."""
        if self.data.package is not None or self.data.hub is not None:
            return {}
        splits = SPLITS if self.is_trained else ("test",)
        sources = {split: getattr(self.data, split) for split in splits}
        return {split: Path(path) for split, path in sources.items() if isinstance(path, str)}

    @field_validator("metrics")
    @classmethod
    def _check_metrics(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Every metric is one of the kind's, and the first has a value of its own for a model."""
        for metric in metrics or ():
            if metric not in cls.metric_names():
                message = f"there is no metric {metric!r}{nearest(metric, cls.metric_names())}"
                raise PydanticCustomError("entry", "{message}", {"message": message})
        if metrics and metrics[0] not in cls.own_metrics():
            message = (
                f"{metrics[0]!r} compares a model with the uncompressed one, which cannot be the "
                "main metric: name another one first, such as "
                f"{cls.own_metrics()[0]!r}"
            )
            raise PydanticCustomError("entry", "{message}", {"message": message})
        return metrics

    @model_validator(mode="after")
    def _check_training(self) -> Self:
        """The settings of the protocol are given, and no others."""
        if not self.is_student:
            unused = next((k for k in ("distil", "factors") if getattr(self, k) is not None), None)
            if unused is not None:
                raise refuse(
                    f"nothing is trained after compression in {self.protocol}: remove it", unused
                )
            needs_settings = self.protocol != "zero_shot" and self.checkpoint is None
            if needs_settings and self.finetune is None:
                raise refuse("'finetune' is missing: the settings of training, or `checkpoint`")
            return self
        keys = ("finetune", "distil")
        needed, other = keys if self.protocol == "compress_then_finetune" else keys[::-1]
        if getattr(self, needed) is None:
            raise refuse(f"{needed!r} is missing: how {self.protocol} trains")
        if getattr(self, other) is not None:
            raise refuse(f"{self.protocol} is trained as `{needed}` says: remove it", other)
        return self

    @model_validator(mode="after")
    def _check_data(self) -> Self:
        """The splits of the protocol are given, with all that reading them needs."""
        self.check_splits()
        if self.protocol == "zero_shot" and len(self.data.text) != 2:
            raise refuse(
                "without fine-tuning the texts of two columns are compared: name both",
                "data",
                "text",
            )
        return self

    def check_splits(self) -> None:
        """Check the keys under `data` that say where the splits are.

        Raises:
            ValidationError: if a key is missing, or excludes another one.
        """
        data = self.data
        splits = SPLITS if self.is_trained else ("test",)
        for key in (*splits, *(() if data.hub is not None else ("format",))):
            if getattr(data, key) is None:
                raise refuse(f"{key!r} is missing", "data")
        if self.is_one_file and self.test_examples is None:
            raise refuse("'test_examples' is missing: the rows of the only file to test on")
        if data.hub is not None and data.package is not None:
            raise refuse("both `hub` and `package` are given: remove one", "data")
        for split in splits:
            is_url = isinstance(getattr(data, split), FileSource)
            if is_url and (data.hub is not None or data.package is not None):
                raise refuse("a `url` excludes `hub` and `package`: remove one", "data", split)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """JSON schema in which `metrics` lists the metrics of the kind."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        metrics = {"type": "array", "minItems": 1, "uniqueItems": True}
        metrics["items"] = {"enum": list(cls.metric_names())}
        schema["properties"]["metrics"] |= {"anyOf": [metrics, {"type": "null"}]}
        return schema
