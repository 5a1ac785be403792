"""Write tables, figures, provenance and the HTML report from the scores."""

from embpress.analysis.published import read_published


rule tables:
    """Write the main table and those of tasks, papers, predictors, sizes, speed, ablations and protocols."""
    input:
        scores="results/scores.csv",
        labels="results/labels.json",
        sizes="results/sizes.csv",
        speed="results/speed.csv",
        published=PUBLISHED,
    output:
        **(
            {"ablations": "results/tables/ablations.tex"}
            if STUDY.compares_variants
            else {}
        ),
        **(
            {
                "protocols": "results/tables/protocols.tex",
                "protocols_text": "results/tables/protocols.txt",
            }
            if STUDY.compares_protocols
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
        tasks=expand("results/tables/{task}.tex", task=STUDY.tasks),
        papers=expand(
            "results/tables/paper_{key}.tex", key=read_published(Path(PUBLISHED))
        ),
    log:
        "results/logs/tables.log",
    conda:
        "../../envs/report.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        code=code_of("tables"),
    message:
        "writing tables"
    script:
        "../scripts/tables.py"


if STUDY.averages:

    rule averages:
        """Average the scores over the tasks of each benchmark, with bootstrap intervals."""
        input:
            scores="results/scores.csv",
            labels="results/labels.json",
            outcomes=[e["outcomes"] for e in EVALUATIONS],
        output:
            rows="results/averages.csv",
            latex=expand("results/tables/average_{name}.tex", name=STUDY.averages),
            text="results/tables/averages.txt",
        log:
            "results/logs/averages.log",
        conda:
            "../../envs/torch.yaml"
        resources:
            mem_mb=per_attempt(2000),
        params:
            code=code_of("averages", task_modules),
            study=STUDY_JSON,
            evaluations=EVALUATIONS,
        message:
            "averaging scores"
        script:
            "../scripts/averages.py"


if STUDY.claims:

    rule claims:
        """Test the claims of the papers against the results of the study."""
        input:
            scores="results/scores.csv",
            labels="results/labels.json",
            outcomes=[e["outcomes"] for e in EVALUATIONS],
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
            code=code_of("claims", task_modules),
            study=STUDY_JSON,
            evaluations=EVALUATIONS,
        message:
            "testing claims"
        script:
            "../scripts/claims.py"


if WHOLE_MODELS:

    rule whole_model:
        """Write size, compute and retained scores of variants that compress layers, by kind."""
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
        params:
            code=code_of("whole_model"),
        message:
            "writing the table of models whose layers are compressed"
        script:
            "../scripts/whole_model.py"


if SEARCHED:

    rule search_table:
        """Write the score of each candidate for the settings of fine-tuning, and the choice."""
        input:
            [f for task in SEARCHED for f in candidate_files(task)],
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
            code=code_of("search_table"),
            files={task: candidate_files(task) for task in SEARCHED},
            titles=task_titles(SEARCHED),
        message:
            "writing the table of the search"
        script:
            "../scripts/search_table.py"


rule figures:
    """Draw retention and error by ratio, size, frequency and rank, and latency by size."""
    input:
        scores="results/scores.csv",
        deciles="results/deciles.csv",
        bounds="results/bounds.csv",
        modules="results/modules.csv",
        sizes="results/sizes.csv",
        spectra="results/spectra.csv",
        speed="results/speed.csv",
        labels="results/labels.json",
        published=PUBLISHED,
        trained=[model["folder"] for model in TRAINED_MODELS],
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
        code=code_of("figures"),
        names=FIGURES,
        trained=TRAINED_MODELS,
    message:
        "drawing figures"
    script:
        "../scripts/figures.py"


# Only the process that plans the study knows all of its jobs.
localrules:
    provenance,


rule provenance:
    """Collect versions, hashes, and times and peak memory of all jobs."""
    input:
        scores="results/scores.csv",
        speed="results/speed.csv",  # so that all long jobs have ended
        packages=expand(
            "results/packages/{package}.whl",
            package=STUDY.used_packages(),
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
        code=code_of("provenance"),
        study=STUDY_JSON,
        packages={name: as_json(pin) for name, pin in PACKAGES.items()},
        logs=planned_logs,
    message:
        "collecting provenance"
    script:
        "../scripts/provenance.py"


rule report:
    """Write one HTML page: best methods by size, tables, figures, and their provenance."""
    input:
        **({"claims": "results/claims.csv"} if STUDY.claims else {}),
        **({"averages": "results/averages.csv"} if STUDY.averages else {}),
        **({"modules": "results/modules.csv"} if WHOLE_MODELS else {}),
        **({"search": "results/search.csv"} if SEARCHED else {}),
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
    params:
        code=code_of("report"),
    message:
        "writing results/report.html"
    script:
        "../scripts/report.py"
