"""Evaluate compressed models on tasks, aggregate the outcomes into scores, and time lookups."""


rule evaluate:
    """Evaluate one variant at all its ratios on a task: outcomes of each test example.

    The model is loaded once.
    """
    input:
        unpack(evaluate_inputs),
    output:
        "results/evaluation/{task}/seed{seed}/{variant}.safetensors",
    log:
        "results/logs/evaluate/{task}-seed{seed}-{variant}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("evaluate", method_modules, task_modules),
        entry=task_entry,
        precision=STUDY.precision,
    message:
        "evaluating {wildcards.variant} on {wildcards.task}, seed {wildcards.seed}"
    script:
        "../scripts/evaluate.py"


rule scores:
    """Aggregate outcomes into scores with bootstrap intervals, and tables of errors and sizes."""
    input:
        unpack(score_inputs),
    output:
        scores=report(
            "results/scores.csv",
            caption="../report/scores.rst",
            category="Scores",
            labels={"table": "all scores"},
        ),
        deciles="results/deciles.csv",
        bounds="results/bounds.csv",
        sizes="results/sizes.csv",
        modules="results/modules.csv",
        spectra="results/spectra.csv",
        labels="results/labels.json",
    log:
        "results/logs/scores.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(2000),
    params:
        code=code_of("scores", method_modules, task_modules),
        study=STUDY_JSON,
        evaluations=EVALUATIONS,
    message:
        "aggregating scores"
    script:
        "../scripts/scores.py"


rule speed:
    """Time lookups in every compressed matrix, in one thread.

    Waits for the scores, so that few jobs run at the same time.
    """
    input:
        unpack(speed_inputs),
    output:
        report(
            "results/speed.csv",
            caption="../report/speed.rst",
            category="Size and speed",
            labels={"table": "lookups"},
        ),
    log:
        "results/logs/speed.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(3000),
        runtime=per_attempt(60),
    params:
        code=code_of("speed", method_modules),
        study=STUDY_JSON,
        evaluations=EVALUATIONS,
    message:
        "timing lookups"
    script:
        "../scripts/speed.py"
