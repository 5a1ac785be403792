"""Rule model."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.checkpoints import card
    from embpress.sources.models import prepare
    from embpress.words import read_words

    files = dict(snakemake.input.items())
    seen = [read_words(Path(path)) for name, path in files.items() if name.startswith("words_")]
    wheels = {name: Path(path) for name, path in files.items() if not name.startswith("words_")}
    folder = Path(snakemake.output[0])
    prepare(snakemake.params.entry, wheels, seen, folder)
    log.info("embedding %d x %d, %d parameters in all", *card(folder)["shape"], card(folder)["parameters"])
