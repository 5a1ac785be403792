"""Rule paper."""

import shutil
from pathlib import Path

from job import read_json, run

with run(snakemake) as log:
    from embpress.analysis.scores import Labels, read_scores
    from embpress.files import write_text
    from embpress.report.paper import document
    from embpress.report.typeset import typeset

    labels = Labels.from_json(read_json(snakemake.input.labels))
    study = read_scores(Path(snakemake.input.scores))["study"].iloc[0]
    source = Path(snakemake.output[0]).with_suffix(".tex")
    files = [[Path(file) for file in snakemake.input[kind]] for kind in ("tables", "figures")]
    write_text(source, document(study, labels, *files, folder=source.parent))
    shutil.copyfile(snakemake.input.bibliography, source.with_name("references.bib"))
    for problem in typeset(source):
        log.warning("%s", problem)
