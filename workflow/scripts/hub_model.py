"""Rule hub_model."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.hub_files import copy_model

    copy_model(snakemake.params.hub, Path(snakemake.output[0]))
