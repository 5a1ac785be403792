"""Tables, figures and provenance from the scores, and an HTML page of all of them."""


rule tables:
    """Write the main table, a table for each task and paper, and those of predictors, sizes, speed and ablations."""
    input:
        scores="results/scores.csv",
        labels="results/labels.json",
        sizes="results/sizes.csv",
        speed="results/speed.csv",
        published=PUBLISHED,
    output:
        **(
            {"ablations": "results/tables/ablations.tex"}
            if study.compares_variants(config)
            else {}
        ),
        main="results/tables/main.tex",
        text=report(
            "results/tables/main.txt",
            caption="../report/main.rst",
            category="Tables",
            labels={"table": "all methods"},
        ),
        predictors="results/tables/predictors.tex",
        predictors_text=report(
            "results/tables/predictors.txt",
            caption="../report/predictors_table.rst",
            category="Tables",
            labels={"table": "predictors"},
        ),
        sizes="results/tables/sizes.tex",
        speed="results/tables/speed.tex",
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


if "averages" in config:

    rule averages:
        """Average scores over the tasks of a benchmark, with intervals."""
        input:
            scores="results/scores.csv",
            labels="results/labels.json",
            outcomes=[e["outcomes"] for e in evaluations()],
        output:
            rows="results/averages.csv",
            latex=expand("results/tables/average_{name}.tex", name=config["averages"]),
            text="results/tables/averages.txt",
        log:
            "results/logs/averages.log",
        conda:
            "../../envs/torch.yaml"
        resources:
            mem_mb=per_attempt(2000),
        params:
            study=config,
            evaluations=evaluations(),
        message:
            "averaging scores"
        script:
            "../scripts/averages.py"


if "claims" in config:

    rule claims:
        """Judge the papers' claims by the outcomes of the study."""
        input:
            scores="results/scores.csv",
            labels="results/labels.json",
            outcomes=[e["outcomes"] for e in evaluations()],
        output:
            rows="results/claims.csv",
            latex="results/tables/claims.tex",
            text=report(
                "results/tables/claims.txt",
                caption="../report/claims.rst",
                category="Tables",
                labels={"table": "claims"},
            ),
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


if WHOLE_MODELS:

    rule whole_model:
        """Write sizes, operations and scores of models whose layers are compressed too."""
        input:
            modules="results/modules.csv",
            scores="results/scores.csv",
            labels="results/labels.json",
        output:
            latex="results/tables/whole_model.tex",
            text="results/tables/whole_model.txt",
        log:
            "results/logs/whole_model.log",
        conda:
            "../../envs/report.yaml"
        resources:
            mem_mb=per_attempt(1000),
        message:
            "writing the table of models whose layers are compressed"
        script:
            "../scripts/whole_model.py"


if study.searched_tasks(config):

    rule search_table:
        """Write the scores of the candidate settings of fine-tuning, and the chosen ones."""
        input:
            [f for task in study.searched_tasks(config) for f in candidate_files(task)],
        output:
            rows="results/search.csv",
            latex="results/tables/search.tex",
            text="results/tables/search.txt",
        log:
            "results/logs/search_table.log",
        conda:
            "../../envs/report.yaml"
        resources:
            mem_mb=per_attempt(1000),
        params:
            files={task: candidate_files(task) for task in study.searched_tasks(config)},
            titles=task_titles(study.searched_tasks(config)),
        message:
            "writing the table of the search"
        script:
            "../scripts/search_table.py"


rule figures:
    """Draw retention, errors of the matrix, spectra, latency and learning curves."""
    input:
        scores="results/scores.csv",
        deciles="results/deciles.csv",
        bounds="results/bounds.csv",
        sizes="results/sizes.csv",
        spectra="results/spectra.csv",
        speed="results/speed.csv",
        labels="results/labels.json",
        trained=trained(),
    output:
        pdf=[f"results/figures/{name}.pdf" for name in FIGURES],
        png=[figure_report(name) for name in FIGURES],
    log:
        "results/logs/figures.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        names=FIGURES,
    message:
        "drawing figures"
    script:
        "../scripts/figures.py"


rule provenance:
    """Collect versions, hashes, times and peak memory of all jobs in a file of their own."""
    input:
        scores="results/scores.csv",
        speed="results/speed.csv",  # its job is the last one that takes long
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


rule report:
    """Write an HTML page of the best methods, all figures and tables, and provenance."""
    input:
        **({"claims": "results/claims.csv"} if "claims" in config else {}),
        **({"averages": "results/averages.csv"} if "averages" in config else {}),
        **({"modules": "results/modules.csv"} if WHOLE_MODELS else {}),
        **({"search": "results/search.csv"} if study.searched_tasks(config) else {}),
        scores="results/scores.csv",
        labels="results/labels.json",
        sizes="results/sizes.csv",
        speed="results/speed.csv",
        provenance="results/provenance.json",
        figures=rules.figures.output.png,
        published=PUBLISHED,
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    message:
        "writing results/report.html"
    script:
        "../scripts/report.py"
