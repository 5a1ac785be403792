"""What the benchmarks share.

Matrices like embeddings, peak memory, and the table that is printed.
"""

import argparse
import os
import platform
import resource
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from embpress.methods._base import Context
from embpress.numerics.rotation import Rotation

GENERATED = 4096
"""Rows generated at once, each block from a seed of its own.

So that a table's first rows do not depend on its length.
"""


def block(number: int, d: int, rotation: Rotation) -> Tensor:
    """Rows like an embedding's, (GENERATED, d).

    A falling spectrum in a rotated basis, a mean, norms that differ.
    """
    generator = torch.Generator().manual_seed(number)
    spectrum = (torch.arange(d) + 10.0) ** -0.4
    values = (
        torch.randn(GENERATED, d, generator=generator)
        .mul_(spectrum)
        .mul_(0.05 / float(spectrum.mean()))
    )
    values[:, 0] += 0.1
    return (
        rotation.forward(values) * torch.randn(GENERATED, 1, generator=generator).mul_(0.2).exp_()
    )


def matrix(rows: int, d: int) -> Tensor:
    """The first rows of the table of width d, float32."""
    rotation = Rotation(d, 0)
    return torch.cat([block(i, d, rotation) for i in range(-(-rows // GENERATED))])[
        :rows
    ].contiguous()


def write_matrix(path: Path, rows: int, d: int) -> None:
    """The same rows as a raw file of float16, written block by block."""
    rotation = Rotation(d, 0)
    with path.open("wb") as file:
        for i in range(-(-rows // GENERATED)):
            file.write(block(i, d, rotation)[: rows - i * GENERATED].half().numpy().tobytes())


def context(rows: int) -> Context:
    """Counts by Zipf's law, the lowest ids the most frequent."""
    return Context((1e9 / (torch.arange(rows) + 3.0)).long())


def peak_bytes() -> int:
    """Most memory that this process has held at once.

    On Linux getrusage also counts what the process that started this one held, which /proc does
    not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(
            1024 * int(line.split()[1])
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if platform.system() == "Darwin" else 1024
    )


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser of a benchmark's few options."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )


def chosen_of(text: str, known: Iterable[str], options: argparse.ArgumentParser) -> list[str]:
    """Names separated by commas; what is unknown ends the program."""
    chosen = text.split(",")
    known = list(known)
    if unknown := [name for name in chosen if name not in known]:
        options.error(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return chosen


def verdict(met: bool) -> str:
    """What stands in a table's last column."""
    return "met" if met else "MISSED"


class Table:
    """Rows of text under a title, printed with the machine's load before and after."""

    def __init__(self, title: str, *columns: str) -> None:
        self.title = title
        self.lines = [columns]
        self.load = os.getloadavg()[0]

    def add(self, *cells: object) -> None:
        """One more row; what is told on the way goes to where the table will not."""
        self.lines.append(tuple(map(str, cells)))
        print("  ", " | ".join(self.lines[-1]), flush=True)

    def print(self) -> None:
        """The table, and whether the machine was free."""
        widths = [max(map(len, column)) for column in zip(*self.lines)]
        print(f"\n{self.title}")
        for number, line in enumerate(self.lines):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
            if not number:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        loads = (self.load, os.getloadavg()[0])
        cores = os.cpu_count() or 1
        busy = (
            f": MORE THAN ITS {cores} CORES, so times are upper bounds"
            if max(loads) > cores
            else ""
        )
        print(
            f"Load average {loads[0]:.1f} before, {loads[1]:.1f} after{busy}; {cores} cores.\n",
            flush=True,
        )
