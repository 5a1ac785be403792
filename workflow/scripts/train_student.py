"""Rule train_student."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    from embpress.study.search import settled
    from embpress.tasks import TaskInputs, create_task
    from embpress.training.students import distil_on_task, finetune_student

    seed = int(snakemake.wildcards.seed)
    folder = Path(snakemake.output[0])
    files = dict(snakemake.input.items())
    entry = settled(
        snakemake.params.entry, [read_json(path) for path in files.pop("candidates", [])]
    )
    files = {name: Path(path) for name, path in files.items()}
    start, source, counts, teacher = (
        files.pop(name, None) for name in ("start", "source", "counts", "teacher")
    )
    task = create_task(entry, TaskInputs.of(files))
    if teacher is None:
        finetune_student(source, start, counts, task, seed, folder)
    else:
        distil_on_task(teacher, start, source, counts, task, seed, folder)
