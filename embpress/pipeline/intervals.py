"""Intervals of means over seeds, beside rows of single seeds."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..analysis.scores import KEY_COLUMNS
from ..tasks._bootstrap import interval_over_seeds

GROUP_COLUMNS = [column for column in KEY_COLUMNS if column != "seed"]


def add_intervals_over_seeds(
    rows: Sequence[dict[str, Any]], samples: Sequence[np.ndarray | None]
) -> None:
    """Add `mean_retention_low` and `mean_retention_high` to rows that have samples.

    Rows that differ by their seed alone get the same interval, that of their mean.

    Args:
        rows: with KEY_COLUMNS.
        samples: the retention of each bootstrap sample of a row, (RESAMPLES,); None where the row
            has no retention.
    """
    groups = defaultdict(list)
    for i, row in enumerate(rows):
        if samples[i] is not None:
            groups[tuple(str(row.get(column)) for column in GROUP_COLUMNS)].append(i)
    for positions in groups.values():
        sampled = np.array([samples[i] for i in positions])
        low, high = interval_over_seeds(sampled)
        for i in positions:
            rows[i] |= {"mean_retention_low": low, "mean_retention_high": high}
