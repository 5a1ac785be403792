"""All tables and figures as one PDF. Not part of the default target, as it needs pdflatex."""


rule paper:
    """Compile all tables and figures into one PDF, with captions and the papers' bibliography."""
    input:
        scores="results/scores.csv",
        labels="results/labels.json",
        tables=[
            *(file for file in rules.tables.output if file.endswith(".tex")),
            *(["results/tables/claims.tex"] if "claims" in config else []),
            *(["results/tables/whole_model.tex"] if WHOLE_MODELS else []),
            *(["results/tables/search.tex"] if study.searched_tasks(config) else []),
            *(rules.averages.output.latex if "averages" in config else []),
        ],
        figures=rules.figures.output.pdf,
        bibliography=BIBLIOGRAPHY,
    output:
        "results/paper/paper.pdf",
    log:
        "results/logs/paper.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    message:
        "typesetting results/paper/paper.pdf"
    script:
        "../scripts/paper.py"
