"""Rule provenance."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.files import write_json
    from embpress.pipeline.provenance import collect

    params = snakemake.params
    write_json(
        Path(snakemake.output[0]), collect(params.study, params.packages, Path("results/logs"))
    )
