"""Rule search."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    from embpress.tasks import TaskInputs, create_task
    from embpress.training.fine_tuning import try_candidate

    entry = snakemake.params.entry
    seed = int(snakemake.wildcards.seed)
    files = {name: Path(path) for name, path in snakemake.input.items()}
    model = files.pop("model")
    task = create_task(entry, TaskInputs.of(files))
    try_candidate(
        model, task, seed, snakemake.params.held_out, Path(snakemake.output[0]), throttled(log)
    )
