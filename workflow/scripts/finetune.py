"""Rule finetune."""

from pathlib import Path

from job import read_device, read_json, run

with run(snakemake, trains=True):
    from embpress.study.search import with_best_settings
    from embpress.tasks import TaskInputs, create_task
    from embpress.training.fine_tuning import finetune
    from embpress.training.loop import TrainingContext

    files = dict(snakemake.input.items())
    candidates = [read_json(path) for path in files.pop("candidates", [])]
    entry = with_best_settings(snakemake.params.entry, candidates)
    model = Path(files.pop("model"))
    task = create_task(entry, TaskInputs.of({name: Path(path) for name, path in files.items()}))
    context = TrainingContext(int(snakemake.wildcards.seed), read_device(snakemake))
    finetune(model, task, context, Path(snakemake.output[0]), candidates)
