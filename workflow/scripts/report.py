"""Rule report."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.report.html import ReportInputs, render_report

    given = snakemake.input
    names = ("scores", "labels", "sizes", "speed", "provenance", "published")
    files = {name: Path(given[name]) for name in names}
    files |= {
        name: Path(file)
        for name in ("claims", "averages", "modules", "search")
        if (file := given.get(name))
    }
    inputs = ReportInputs(**files, figures=[Path(file) for file in given.figures])
    render_report(inputs, Path(snakemake.output[0]))
