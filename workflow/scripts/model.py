"""Rule model."""

import shutil
from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.models import prepare_checkpoint
    from embpress.errors import UserError
    from embpress.models.checkpoints import read_metadata
    from embpress.pipeline.model_checks import check_tasks
    from embpress.study.model_entry import ModelEntry

    files = dict(snakemake.input.items())
    seen = [Path(path) for name, path in files.items() if name.startswith("words_")]
    downloaded = Path(files.pop("hub")) if "hub" in files else None
    wheels = {name: Path(path) for name, path in files.items() if not name.startswith("words_")}
    folder = Path(snakemake.output[0])
    entry = ModelEntry.model_validate(snakemake.params.entry)
    tasks = snakemake.config["tasks_of_models"][snakemake.wildcards.model]
    prepare_checkpoint(entry, wheels, seen, folder, downloaded)
    try:
        check_tasks(folder, tasks)
    except UserError:
        shutil.rmtree(folder)  # or the next run would take it for checked
        raise
    log.info(
        "embedding %d x %d, %d parameters in all",
        *read_metadata(folder)["shape"],
        read_metadata(folder)["parameters"],
    )
