"""Entries under `claims:` and `averages:`. Imports no torch."""

from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from .fields import Frozen, Ratios, Strings


def _as_list(value: object) -> object:
    """A value that may stand alone in the config, as a list."""
    return [value] if isinstance(value, str) else value


OneOrMore = Annotated[Strings, BeforeValidator(_as_list, json_schema_input_type=str | list[str])]


class ComparisonEntry(Frozen):
    """Variants that a claim orders by one metric."""

    better: str = Field(description="Entry under `methods:` that the claim says is better.")
    worse: OneOrMore = Field(description="Entries under `methods:` that it is better than.")
    tasks: OneOrMore = Field(alias="on", description="Entries under `tasks:`.")
    by: str = Field(
        description="A metric of the tasks, or an error of the matrix (a column of scores.csv)."
    )
    ratios: Ratios | None = Field(
        default=None, description="The default is every ratio at which both variants run."
    )


class ClaimEntry(Frozen):
    """What a paper claims, tested by comparisons of two variants at equal ratio."""

    paper: str = Field(description="Short name of the paper.")
    label: str | None = Field(
        default=None, description="Name of the paper in tables; the default is `paper`."
    )
    text: str = Field(description="What the paper claims, in our own words.")
    evidence: Literal["abstract", "text", "code", "inferred"] = Field(
        description="Where the claim was read; inferred is our own reading of the method."
    )
    comparisons: Annotated[tuple[ComparisonEntry, ...], Field(strict=False, min_length=1)]


class Comparison(NamedTuple):
    """Two variants that a claim orders, on one task by one metric at one ratio.

    The ratio is None if both variants are controls.
    """

    claim: str
    better: str
    worse: str
    task: str
    by: str
    ratio: float | None


class AverageEntry(Frozen):
    """Mean over tasks of one model, such as GLUE's."""

    label: str
    tasks: Annotated[tuple[OneOrMore, ...], Field(strict=False, min_length=2)] = Field(
        description="Entries under `tasks:`; a list among them counts as one task. A task's score "
        "is the mean of its metrics."
    )
    footnote: str | None = None

    @property
    def all_tasks(self) -> list[str]:
        """All tasks, including those that count as one."""
        return [task for group in self.tasks for task in group]
