"""Rule tables."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    import pandas

    from embpress.analysis.ablations import compare_variants
    from embpress.analysis.predictors import correlate_metrics
    from embpress.analysis.published import read_published
    from embpress.analysis.scores import Labels, read_scores
    from embpress.files import write_text
    from embpress.report import tables

    scores = read_scores(Path(snakemake.input.scores))
    labels = Labels.from_json(read_json(snakemake.input.labels))
    write_text(Path(snakemake.output.main), tables.main_table(scores, labels))
    write_text(Path(snakemake.output.text), tables.text_table(scores, labels))
    found = correlate_metrics(scores, labels)
    write_text(Path(snakemake.output.predictors), tables.predictors_table(found, labels))
    write_text(Path(snakemake.output.predictors_text), tables.predictors_text(found, labels))
    sizes = tables.read_sizes(Path(snakemake.input.sizes))
    write_text(Path(snakemake.output.sizes), tables.sizes_table(sizes, scores, labels))
    for key, cells in read_published(Path(snakemake.input.published)).items():
        write_text(
            Path(f"results/tables/paper_{key}.tex"), tables.paper_table(cells, scores, labels)
        )
    for task in labels.tasks:
        write_text(Path(f"results/tables/{task}.tex"), tables.task_table(scores, labels, task))
    speed = pandas.read_csv(snakemake.input.speed)
    write_text(Path(snakemake.output.speed), tables.speed_table(speed, labels))
    if compared := snakemake.output.get("ablations"):
        write_text(Path(compared), tables.ablations_table(compare_variants(scores, labels), labels))
