"""Scores in bfloat16 and float16 against those in float32, of the artefacts of a finished study."""

import tempfile
from pathlib import Path

from .common import Table, chosen_of, parser
from .studies import ROOT, differences, evaluate_again, read_scores

PRECISIONS = ("bfloat16", "float16")


def main() -> None:
    """Print the changes of scores by task, metric and precision."""
    options = parser(__doc__)
    options.add_argument("--folder", type=Path, default=ROOT, help="of the finished study")
    options.add_argument("--study", type=Path, default=ROOT / "config.yaml", help="its config")
    options.add_argument("--precisions", default=",".join(PRECISIONS), help="to compare")
    options.add_argument("--methods", default="", help="to evaluate again; all by default")
    options.add_argument("--device", default="auto", help="auto, cpu or cuda")
    chosen = options.parse_args()
    only = tuple(name for name in chosen.methods.split(",") if name)
    before = read_scores(chosen.folder)
    if only:
        before = before[before["method"].isin(only)]
    table = Table(
        f"{chosen.study.name}: scores against float32",
        *("precision", "task", "metric", "scores", "float32"),
        *("mean change", "largest", "largest, points of retention"),
    )
    for precision in chosen_of(chosen.precisions, PRECISIONS, options):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as copy:
            after = evaluate_again(
                chosen.folder,
                chosen.study.resolve(),
                Path(copy),
                only,
                device=chosen.device,
                precision=precision,
            )
        for row in differences(before, after).itertuples():
            table.add(
                *(precision, row.task, row.metric, row.n, f"{row.value:.4g}"),
                *(f"{row.change:+.2g}", f"{row.largest:.2g}", f"{row.retention:.2f}"),
            )
    table.print()


if __name__ == "__main__":
    main()
