"""Rule task_corpus."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.texts import write_texts
    from embpress.tasks import TaskInputs, create_task

    entry = snakemake.params.task
    task = create_task(
        entry, TaskInputs.of({name: Path(path) for name, path in snakemake.input.items()})
    )
    texts = [*task.train.texts, *(task.train.seconds or [])]
    log.info("%d texts", len(texts))
    write_texts(texts, Path(snakemake.output[0]))
