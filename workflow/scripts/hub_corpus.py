"""Rule hub_corpus."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.hub_files import copy_corpus

    copy_corpus(snakemake.params.hub, Path(snakemake.output[0]))
