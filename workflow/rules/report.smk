"""Scores to LaTeX tables, plots and provenance."""


rule tables:
    """Write the main table, one table a task, one a paper, what predicts the scores, and what did not shrink."""
    input:
        scores="results/scores.csv",
        labels="results/labels.json",
        sizes="results/sizes.csv",
        published=PUBLISHED,
    output:
        main="results/tables/main.tex",
        text="results/tables/main.txt",
        predictors="results/tables/predictors.tex",
        predictors_text="results/tables/predictors.txt",
        sizes="results/tables/sizes.tex",
        tasks=expand("results/tables/{task}.tex", task=config["tasks"]),
        papers=expand(
            "results/tables/paper_{key}.tex", key=read_published(Path(PUBLISHED))
        ),
    log:
        "results/logs/tables.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    message:
        "writing tables"
    script:
        "../scripts/tables.py"


if "claims" in config:

    rule claims:
        """Judge the claims of the papers by what the study found."""
        input:
            scores="results/scores.csv",
            labels="results/labels.json",
            outcomes=[e["outcomes"] for e in evaluations()],
        output:
            rows="results/claims.csv",
            latex="results/tables/claims.tex",
            text="results/tables/claims.txt",
        log:
            "results/logs/claims.log",
        conda:
            "../../envs/torch.yaml"
        resources:
            mem_mb=per_attempt(2000),
        params:
            study=config,
            evaluations=evaluations(),
        message:
            "judging claims"
        script:
            "../scripts/claims.py"


rule figures:
    """Draw retention against ratio, error against score, ratio and its bound, and error by token frequency."""
    input:
        scores="results/scores.csv",
        deciles="results/deciles.csv",
        bounds="results/bounds.csv",
        labels="results/labels.json",
    output:
        expand(
            "results/figures/{figure}.{kind}",
            figure=[
                "retention",
                "error_vs_score",
                "error_vs_ratio",
                "error_by_decile",
                *(f"retention-{t}" for t in config["tasks"]),
            ],
            kind=["pdf", "png"],
        ),
    log:
        "results/logs/figures.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    message:
        "drawing figures"
    script:
        "../scripts/figures.py"


rule provenance:
    """Collect versions, hashes, times and peak memory of all jobs, beside the scores and not in them."""
    input:
        scores="results/scores.csv",
        packages=expand(
            "results/packages/{package}.whl",
            package=study.used_packages(config),
        ),
    output:
        "results/provenance.json",
    log:
        "results/logs/provenance.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        study=config,
        packages=PACKAGES,
    message:
        "collecting provenance"
    script:
        "../scripts/provenance.py"
