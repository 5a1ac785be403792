"""Fits of a matrix on disk, each in a process of its own: peak memory, and how the work grows with
the rows.

Work is processor time of all threads, which other jobs lengthen less than the time that passes.
"""

import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from embpress import storage
from embpress.methods import compress
from embpress.numerics.matrices import FileMatrix

from .common import GENERATED, Table, chosen_of, context, parser, peak_bytes, verdict, write_matrix

SIZES = {"small": "8192,16384", "full": "32768,65536,131072,262144"}
MOST_BYTES = 1 << 30
STEEPEST = 1.15
"""Power of the number of rows with which processor time may grow.

Linear, and what a loaded machine adds.
"""
CASES: dict[str, tuple[str, float, dict]] = {
    "SVD": ("svd", 10, {}),
    "int8": ("integer", 3.9, {}),
    "int4": ("integer", 6.8, {"bits": 4}),
    "signs": ("signs", 10, {}),
    "ectcq": ("ectcq", 10, {}),
}


def fit(path: str, rows: int, d: int, label: str, folder: str) -> None:
    """The child: fit and pack the first rows of a file.

    Print seconds, processor seconds, peak and size as JSON.
    """
    method, ratio, options = CASES[label]
    start = time.perf_counter()
    began = time.process_time()
    on_disk = FileMatrix(Path(path), (rows, d), torch.float16)
    compressed = compress(on_disk, method, ratio, context(rows), **options)
    fitted = time.perf_counter()
    storage.save(compressed, Path(folder))
    packed = time.perf_counter()
    found = {
        "fit": fitted - start,
        "pack": packed - fitted,
        "processor": time.process_time() - began,
    }
    print(json.dumps(found | {"peak": peak_bytes(), "ratio": compressed.ratio}))


def measured(path: Path, rows: int, d: int, label: str) -> dict[str, float]:
    """What the child prints."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        code = (
            f"from bench.scale import fit; fit({str(path)!r}, {rows}, {d}, {label!r}, {folder!r})"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Write a file of the largest size once, and fit its first rows at each size."""
    options = parser(__doc__)
    options.add_argument(
        "--rows", default="small", help=f"numbers of rows, rising, or one of {', '.join(SIZES)}"
    )
    options.add_argument("--dims", type=int, default=3840)
    options.add_argument(
        "--methods", default=",".join(CASES), help="ectcq takes some milliseconds a row"
    )
    options.add_argument(
        "--folder", help="where the file is written; a temporary folder without it"
    )
    chosen = options.parse_args()
    labels = chosen_of(chosen.methods, CASES, options)
    sizes = sorted(int(n) for n in SIZES.get(chosen.rows, chosen.rows).split(","))
    table = Table(
        f"From a float16 file on disk, d = {chosen.dims}: fit and pack in one process, target at "
        "most 1 GiB, linear time",
        "method",
        "rows",
        "ratio",
        "fit",
        "pack",
        "processor",
        "us a row",
        "peak MiB",
        "memory",
        "processor ~ rows^",
        "growth",
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        path = Path(folder) / "matrix.f16"
        write_matrix(path, -(-sizes[-1] // GENERATED) * GENERATED, chosen.dims)
        for label in labels:
            before: dict[str, float] = {}
            for rows in sizes:
                found = measured(path, rows, chosen.dims, label) | {"rows": rows}
                power = math.nan
                if before:
                    power = math.log(found["processor"] / before["processor"]) / math.log(
                        rows / before["rows"]
                    )
                # Compared with the smallest, whose fixed costs make the growth look smaller.
                before = before or found
                table.add(
                    label,
                    rows,
                    f"{found['ratio']:.2f}",
                    f"{found['fit']:.1f} s",
                    f"{found['pack']:.1f} s",
                    f"{found['processor']:.1f} s",
                    f"{1e6 * found['processor'] / rows:.0f}",
                    f"{found['peak'] / 2**20:.0f}",
                    verdict(found["peak"] <= MOST_BYTES),
                    "-" if math.isnan(power) else f"{power:.2f}",
                    "-" if math.isnan(power) else verdict(power <= STEEPEST),
                )
    table.print()


if __name__ == "__main__":
    main()
