"""Rule hub_split."""

from pathlib import Path

from job import run

with run(snakemake, offline=False) as log:
    from embpress.data.hub import export_split

    data = snakemake.params.data
    n = export_split(data["hub"], data["split"], Path(snakemake.output[0]))
    log.info("%d rows", n)
