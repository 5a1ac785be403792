"""Rule distil_on_text."""

from pathlib import Path

from job import run

with run(snakemake):
    from embpress.data.texts import read_texts
    from embpress.training.students import distil_on_text

    files = {name: Path(path) for name, path in snakemake.input.items()}
    texts = read_texts(files["texts"])
    seed = int(snakemake.wildcards.seed)
    folder = Path(snakemake.output[0])
    distil_on_text(
        files["source"],
        files["start"],
        files["counts"],
        texts,
        snakemake.params.entry,
        seed,
        folder,
    )
