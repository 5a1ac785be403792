"""Rule hub_model."""

from pathlib import Path

from job import run

with run(snakemake, offline=False):
    from embpress.data.hub_files import copy_model
    from embpress.study.model_entry import HubModel

    copy_model(HubModel.model_validate(snakemake.params.hub), Path(snakemake.output[0]))
