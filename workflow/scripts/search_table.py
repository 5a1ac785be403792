"""Rule search_table."""

from pathlib import Path

from job import read_json, run

with run(snakemake):
    import pandas

    from embpress.files import write_text
    from embpress.report import tables
    from embpress.study.search import rows

    files = snakemake.params.files
    titles = snakemake.params.titles
    output = snakemake.output
    candidates = pandas.DataFrame(
        rows({task: [read_json(path) for path in paths] for task, paths in files.items()})
    )
    write_text(
        Path(output.rows), candidates.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    )
    table = tables.search_table(candidates, titles)
    write_text(Path(output.latex), tables.to_latex(table))
    write_text(Path(output.text), tables.to_text(table))
