"""Rule train_student."""

from pathlib import Path

from job import read_device, read_json, run

with run(snakemake, trains=True):
    from embpress.study.search import with_best_settings
    from embpress.tasks import TaskInputs, create_task
    from embpress.training.loop import TrainingContext
    from embpress.training.students import StudentInputs, distil_on_task, finetune_student

    context = TrainingContext(int(snakemake.wildcards.seed), read_device(snakemake))
    folder = Path(snakemake.output[0])
    files = dict(snakemake.input.items())
    candidates = [read_json(path) for path in files.pop("candidates", [])]
    entry = with_best_settings(snakemake.params.entry, candidates)
    files = {name: Path(path) for name, path in files.items()}
    inputs = StudentInputs(*(files.pop(name) for name in ("source", "start", "counts")))
    teacher = files.pop("teacher", None)
    task = create_task(entry, TaskInputs.of(files))
    if teacher is None:
        finetune_student(inputs, task, context, folder)
    else:
        distil_on_task(teacher, inputs, task, context, folder)
