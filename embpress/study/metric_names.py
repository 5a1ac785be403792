"""Columns of scores.csv that measure the matrix. Imports no torch and no pandas."""

ERRORS = {
    **{
        f"{weighted}{name}": False
        for weighted in ("", "weighted_")
        for name in ("relative_error", "distance_db")
    },
    **{
        f"{weighted}{name}": True
        for weighted in ("", "weighted_")
        for name in ("mean_cosine", "neighbour_overlap", "eigenspace_overlap")
    },
}
"""Columns by name, with whether a higher value is better."""
