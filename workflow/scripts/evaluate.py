"""Rule evaluate."""

from pathlib import Path

from job import read_json, run, throttled

with run(snakemake) as log:
    from embpress.pipeline.evaluation import evaluate, write_outcomes
    from embpress.tasks import TaskInputs, create_task

    entry = snakemake.params.entry
    files = dict(snakemake.input.items())
    checkpoint = Path(files.pop("checkpoint"))
    folders = files.pop("artefacts")
    task = create_task(entry, TaskInputs.of({name: Path(path) for name, path in files.items()}))
    feasible = [
        Path(f)
        for f in ([folders] if isinstance(folders, str) else folders)
        if "infeasible" not in read_json(Path(f, "result.json"))
    ]
    found = {
        folder.name: outcomes
        for folder, outcomes in evaluate(task, checkpoint, feasible, throttled(log))
    }
    write_outcomes(found, Path(snakemake.output[0]))
