"""Rule provenance."""

from pathlib import Path

from job import read_study, run

with run(snakemake):
    from embpress.files import write_json
    from embpress.pipeline.provenance import collect
    from embpress.study.loading import read_pins

    pins = read_pins(snakemake.params.packages)
    logs = [Path(log) for log in snakemake.params.logs]
    provenance = collect(read_study(snakemake), pins, Path("results/logs"), logs)
    write_json(Path(snakemake.output[0]), provenance)
