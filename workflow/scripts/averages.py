"""Rule averages."""

from pathlib import Path

from job import read_json, read_study, run

with run(snakemake):
    from embpress.analysis.averages import average_labels
    from embpress.analysis.scores import Labels, read_scores, write_scores
    from embpress.files import write_text
    from embpress.pipeline.aggregation import Evaluation
    from embpress.pipeline.averages import average_scores
    from embpress.report.tables import average_table, to_latex, to_text

    study = read_study(snakemake)
    evaluations = [Evaluation.from_json(e) for e in snakemake.params.evaluations]
    rows = average_scores(study, evaluations, read_scores(Path(snakemake.input.scores)))
    labels = average_labels(study.averages, Labels.from_json(read_json(snakemake.input.labels)))
    write_scores(rows, Path(snakemake.output.rows))
    best = labels.at_best()
    averages = [average_table(best.rows(rows), best, name) for name in labels.tasks]
    for average, path in zip(averages, snakemake.output.latex):
        write_text(Path(path), to_latex(average))
    write_text(Path(snakemake.output.text), "\n".join(map(to_text, averages)))
