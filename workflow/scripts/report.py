"""Rule report."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.report import Inputs, render

    given = snakemake.input
    names = ("scores", "labels", "sizes", "speed", "provenance", "graph", "published")
    files = {name: Path(given[name]) for name in names}
    claims = given.get("claims")
    inputs = Inputs(**files, figures=[Path(file) for file in given.figures], claims=Path(claims) if claims else None)
    render(inputs, Path(snakemake.output[0]))
