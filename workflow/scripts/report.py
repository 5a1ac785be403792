"""Rule report."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.report.html import Inputs, render

    given = snakemake.input
    names = ("scores", "labels", "sizes", "speed", "provenance", "graph", "published")
    files = {name: Path(given[name]) for name in names}
    files |= {
        name: Path(file)
        for name in ("claims", "averages", "modules", "search")
        if (file := given.get(name))
    }
    inputs = Inputs(**files, figures=[Path(file) for file in given.figures])
    render(inputs, Path(snakemake.output[0]))
