"""Rule averages."""

from pathlib import Path

from job import read_json, read_study, run

with run(snakemake):
    from embpress.analysis.scores import Labels, read, write
    from embpress.files import write_text
    from embpress.pipeline.aggregation import Evaluation
    from embpress.pipeline.averages import average_labels, average_scores
    from embpress.report import tables
    from embpress.report.tables.averages import average_table

    study = read_study(snakemake)
    evaluations = [Evaluation.from_json(e) for e in snakemake.params.evaluations]
    rows = average_scores(study, evaluations, read(Path(snakemake.input.scores)))
    labels = average_labels(study, Labels.from_json(read_json(snakemake.input.labels)))
    write(rows, Path(snakemake.output.rows))
    for name, path in zip(labels.tasks, snakemake.output.latex):
        write_text(Path(path), average_table(rows, labels, name))
    write_text(Path(snakemake.output.text), tables.text_table(rows, labels))
