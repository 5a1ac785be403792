"""Rule hub_split."""

from pathlib import Path

from job import run

with run(snakemake, offline=False) as log:
    from embpress.data.hub import export_split
    from embpress.study.task_data import HubDataset

    data = snakemake.params.data
    hub = HubDataset.model_validate(data["hub"])
    n = export_split(hub, data["split"], Path(snakemake.output[0]))
    log.info("%d rows", n)
