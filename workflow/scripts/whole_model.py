"""Rule whole_model."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    from embpress.analysis.scores import Labels, read_scores
    from embpress.files import write_text
    from embpress.report import tables

    modules = tables.read_modules(Path(snakemake.input.modules))
    scores = read_scores(Path(snakemake.input.scores))
    labels = Labels.from_json(read_json(snakemake.input.labels))
    table = tables.whole_model_table(modules, scores, labels)
    write_text(Path(snakemake.output.latex), tables.to_latex(table))
    write_text(Path(snakemake.output.text), tables.to_text(table))
