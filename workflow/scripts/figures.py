"""Rule figures."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    import pandas

    from embpress import plots
    from embpress.plot_style import save
    from embpress.scores import Labels, read

    scores, deciles = read(Path(snakemake.input.scores)), pandas.read_csv(snakemake.input.deciles)
    bounds = pandas.read_csv(snakemake.input.bounds)
    labels = Labels.from_json(read_json(snakemake.input.labels))
    folder = Path("results/figures")
    save(plots.retention_by_ratio(scores, labels), folder / "retention")
    save(plots.error_vs_score(scores, labels), folder / "error_vs_score")
    save(plots.error_vs_ratio(scores, bounds, labels), folder / "error_vs_ratio")
    save(plots.error_by_decile(deciles, labels), folder / "error_by_decile")
    for task in labels.tasks:
        save(plots.retention_of_task(scores, labels, task), folder / f"retention-{task}")
