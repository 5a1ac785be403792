"""Rule finetune."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.tasks import Inputs, task_class
    from embpress.training import finetune

    entry = snakemake.params.entry
    files = {name: Path(path) for name, path in snakemake.input.items()}
    model = files.pop("model")
    task = task_class(entry["kind"])(entry, Inputs.of(files))
    finetune(model, task, int(snakemake.wildcards.seed), Path(snakemake.output[0]))
