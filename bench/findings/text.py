"""Numbers with intervals, lists in sentences, and Markdown tables."""

from collections.abc import Sequence

from embpress.report.tables.table import number

from .kept_run import Estimate


def bounds(estimate: Estimate) -> str:
    """The interval in brackets."""
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def with_interval(estimate: Estimate) -> str:
    """A number and its interval."""
    return f"{number(estimate.value)} {bounds(estimate)}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence."""
    if not names:
        return "none"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], n_text: int = 1) -> str:
    """A Markdown table whose first columns are text and the others numbers."""
    rule = "|" + "---|" * n_text + "--:|" * (len(head) - n_text)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(r)} |" for r in rows)])
