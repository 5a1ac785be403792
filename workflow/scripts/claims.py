"""Rule claims."""

from pathlib import Path

from job import read_json, read_study, run

with run(snakemake) as log:
    from embpress.analysis.scores import Labels, read_scores
    from embpress.analysis.verdicts import shown_claims, to_csv
    from embpress.files import write_text
    from embpress.pipeline.aggregation import Evaluation
    from embpress.pipeline.claims import judge
    from embpress.report.tables import claims_table, to_latex, to_text

    evaluations = [Evaluation.from_json(e) for e in snakemake.params.evaluations]
    study = read_study(snakemake)
    claims = study.claims
    scores = read_scores(Path(snakemake.input.scores))
    rows = judge(study, evaluations, scores)
    log.info("%s", rows["verdict"].value_counts().to_dict())
    labels = Labels.from_json(read_json(snakemake.input.labels))
    write_text(Path(snakemake.output.rows), to_csv(rows))
    table = claims_table(shown_claims(rows, scores, labels), claims, labels)
    write_text(Path(snakemake.output.latex), to_latex(table))
    write_text(Path(snakemake.output.text), to_text(table))
