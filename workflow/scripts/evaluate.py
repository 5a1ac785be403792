"""Rule evaluate."""

from pathlib import Path

from job import read_device, run, throttled

with run(snakemake) as log:
    from embpress.fidelity.record import Fitted, read_result
    from embpress.pipeline.evaluation import Runtime, evaluate, read_outcomes, write_outcomes
    from embpress.tasks import TaskInputs, create_task

    entry = snakemake.params.entry
    files = dict(snakemake.input.items())
    checkpoint = Path(files.pop("checkpoint"))
    folders = files.pop("artefacts")
    stored = files.pop("reference", None)
    reference = next(iter(read_outcomes(Path(stored)).values())) if stored else None
    task = create_task(entry, TaskInputs.of({name: Path(path) for name, path in files.items()}))
    all_folders = [Path(f) for f in ([folders] if isinstance(folders, str) else folders)]
    feasible = [folder for folder in all_folders if isinstance(read_result(folder), Fitted)]
    runtime = Runtime(read_device(snakemake), snakemake.params.precision)
    results = evaluate(task, checkpoint, feasible, throttled(log), runtime, reference)
    outcomes_by_ratio = {folder.name: outcomes for folder, outcomes in results}
    write_outcomes(outcomes_by_ratio, Path(snakemake.output[0]))
