"""Rule download."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.download import fetch

    fetch(snakemake.params.url, snakemake.wildcards.sha256, Path(snakemake.output[0]))
