"""Rule model."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data.models import prepare_checkpoint
    from embpress.models.checkpoints import read_metadata
    from embpress.study.model_entry import ModelEntry

    files = dict(snakemake.input.items())
    seen = [Path(path) for name, path in files.items() if name.startswith("words_")]
    downloaded = Path(files.pop("hub")) if "hub" in files else None
    wheels = {name: Path(path) for name, path in files.items() if not name.startswith("words_")}
    folder = Path(snakemake.output[0])
    entry = ModelEntry.model_validate(snakemake.params.entry)
    prepare_checkpoint(entry, wheels, seen, folder, downloaded)
    log.info(
        "embedding %d x %d, %d parameters in all",
        *read_metadata(folder)["shape"],
        read_metadata(folder)["parameters"],
    )
