"""Rule search."""

from pathlib import Path

from job import read_device, run, throttled

with run(snakemake, trains=True) as log:
    from embpress.tasks import TaskInputs, create_task
    from embpress.training.fine_tuning import try_candidate
    from embpress.training.loop import TrainingContext

    entry = snakemake.params.entry
    context = TrainingContext(int(snakemake.wildcards.seed), read_device(snakemake))
    files = {name: Path(path) for name, path in snakemake.input.items()}
    model = files.pop("model")
    task = create_task(entry, TaskInputs.of(files))
    try_candidate(
        model, task, context, snakemake.params.held_out, Path(snakemake.output[0]), throttled(log)
    )
