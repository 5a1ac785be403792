"""Rule scores."""

from pathlib import Path

from job import read_study, run

with run(snakemake) as log:
    from embpress.analysis.scores import write_scores
    from embpress.files import write_json
    from embpress.pipeline.aggregation import Evaluation, aggregate, bounds, labels
    from embpress.pipeline.layer_sizes import module_sizes
    from embpress.pipeline.sizes import sizes
    from embpress.pipeline.spectra import spectra

    study = read_study(snakemake)
    evaluations = [Evaluation.from_json(e) for e in snakemake.params.evaluations]
    scores, deciles = aggregate(study, evaluations)
    log.info("%d scores", len(scores))
    write_scores(scores, Path(snakemake.output.scores))
    plain = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    deciles.to_csv(snakemake.output.deciles, **plain)
    sizes(study, evaluations).to_csv(snakemake.output.sizes, **plain)
    module_sizes(study, evaluations).to_csv(snakemake.output.modules, **plain)
    bounds(study, evaluations).to_csv(snakemake.output.bounds, **plain)
    spectra(study, evaluations).to_csv(snakemake.output.spectra, **plain)
    write_json(Path(snakemake.output.labels), labels(study))
