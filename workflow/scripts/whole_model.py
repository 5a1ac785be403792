"""Rule whole_model."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    from embpress import tables
    from embpress.analysis.scores import Labels, read
    from embpress.files import write_text

    modules, scores = tables.read_modules(Path(snakemake.input.modules)), read(Path(snakemake.input.scores))
    labels = Labels.from_json(read_json(snakemake.input.labels))
    write_text(Path(snakemake.output.latex), tables.whole_model_table(modules, scores, labels))
    write_text(Path(snakemake.output.text), tables.whole_model_text(modules, scores, labels))
