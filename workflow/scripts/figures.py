"""Rule figures."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    import pandas

    from embpress.analysis.ablations import compare_variants
    from embpress.analysis.predictors import correlate_metrics
    from embpress.analysis.protocols import compare_protocols
    from embpress.analysis.published import published_models, read_published
    from embpress.analysis.scores import Labels, read_scores
    from embpress.pipeline.training_logs import read_logs
    from embpress.report import plots
    from embpress.report.plots.style import save
    from embpress.report.tables import read_modules, read_sizes
    from embpress.study.artefact import TrainedModel

    given = snakemake.input
    names = snakemake.params.names
    scores = read_scores(Path(given.scores))
    labels = Labels.from_json(read_json(given.labels))
    # Variants as published are shown where variants are compared.
    best = labels.at_best()
    best_scores = best.rows(scores)
    draw = {
        "retention": lambda: plots.retention_by_ratio(best_scores, best),
        "whole_models": lambda: plots.retention_of_layers(
            best_scores,
            best,
            read_modules(Path(given.modules)),
            published_models(read_published(Path(given.published))),
        ),
        "pareto": lambda: plots.pareto(best_scores, read_sizes(Path(given.sizes)), best),
        "error_vs_score": lambda: plots.error_vs_score(best_scores, best),
        "predictors": lambda: plots.score_vs_predictors(
            best_scores, correlate_metrics(best_scores, best), best
        ),
        "error_vs_ratio": lambda: plots.error_vs_ratio(
            best_scores, pandas.read_csv(given.bounds), best
        ),
        "error_by_decile": lambda: plots.error_by_decile(
            best.rows(pandas.read_csv(given.deciles)), best
        ),
        "spectra": lambda: plots.spectra(pandas.read_csv(given.spectra), labels),
        "latency_vs_size": lambda: plots.latency_vs_size(
            best.rows(pandas.read_csv(given.speed)), best
        ),
        "ablations": lambda: plots.ablation_bars(compare_variants(scores, labels), labels),
        "protocols": lambda: plots.retention_by_protocol(
            compare_protocols(best_scores, best), best
        ),
        "learning_curves": lambda: plots.learning_curves(
            read_logs([TrainedModel.from_json(m) for m in snakemake.params.trained]), labels
        ),
        **{
            f"retention-{t}": lambda t=t: plots.retention_of_task(best_scores, best, t)
            for t in labels.tasks
        },
    }
    for name in names:
        save(draw[name](), Path("results/figures", name))
