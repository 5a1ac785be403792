"""Rule tables."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    import pandas

    from embpress.analysis.ablations import compare_variants
    from embpress.analysis.predictors import correlate_metrics
    from embpress.analysis.protocols import compare_protocols
    from embpress.analysis.published import read_published
    from embpress.analysis.scores import Labels, read_scores
    from embpress.files import write_text
    from embpress.report import tables

    given = snakemake.input
    output = snakemake.output
    scores = read_scores(Path(given.scores))
    labels = Labels.from_json(read_json(given.labels))
    sizes = tables.read_sizes(Path(given.sizes))
    # Methods as published stand in the tables of papers and tasks, and in the ablations.
    best = labels.at_best()
    best_scores = best.rows(scores)
    main = tables.main_table(best_scores, best)
    predictors = tables.predictors_table(correlate_metrics(best_scores, best), best)
    latex = {
        output.main: [main],
        output.predictors: [predictors],
        output.sizes: [
            tables.weights_table(sizes),
            tables.stored_table(best.rows(sizes), best_scores, best),
        ],
        output.speed: [tables.speed_table(best.rows(pandas.read_csv(given.speed)), best)],
    }
    protocols = tables.protocol_tables(compare_protocols(best_scores, best), best)
    if side_by_side := output.get("protocols"):
        latex[side_by_side] = protocols
        write_text(Path(output.protocols_text), "\n".join(map(tables.to_text, protocols)))
    if compared := output.get("ablations"):
        counts = tables.counts_table(scores, labels)
        latex[compared] = [tables.ablations_table(compare_variants(scores, labels), labels)]
        latex[compared] += [counts] if counts.rows() else []
    for key, cells in read_published(Path(given.published)).items():
        latex[f"results/tables/paper_{key}.tex"] = tables.paper_tables(cells, scores, labels)
    for task in labels.tasks:
        latex[f"results/tables/{task}.tex"] = [tables.task_table(scores, labels, task)]
    for path, parts in latex.items():
        write_text(Path(path), tables.to_latex(*parts))
    write_text(Path(output.text), tables.to_text(main))
    write_text(Path(output.predictors_text), tables.to_text(predictors))
