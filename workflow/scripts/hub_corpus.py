"""Rule hub_corpus."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.hub_files import copy_corpus
    from embpress.study.model_entry import HubFiles

    copy_corpus(HubFiles.model_validate(snakemake.params.hub), Path(snakemake.output[0]))
