"""Compress the matrices of checkpoints, and measure the sensitivity of models to their rows."""


rule sensitivity:
    """Measure the gradient of the loss with respect to each row of a matrix.

    Held-out text is not used.
    """
    input:
        unpack(sensitivity_inputs),
    output:
        "results/sensitivity/{checkpoint}/seed{seed}.safetensors",
    log:
        "results/logs/sensitivity/{checkpoint}-seed{seed}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("sensitivity"),
        tokens=STUDY.sensitivity.tokens,
        kinds=sensitive_kinds,
        patterns=layer_patterns,
    message:
        "measuring the sensitivity of {wildcards.checkpoint} to each row, seed {wildcards.seed}"
    script:
        "../scripts/sensitivity.py"


rule calibrate:
    """Measure second moments of the inputs and gradients of a checkpoint's layers on training texts."""
    input:
        unpack(calibration_inputs),
    output:
        "results/calibration/{checkpoint}/seed{seed}.safetensors",
    log:
        "results/logs/calibrate/{checkpoint}-seed{seed}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("calibrate", calibration_modules),
        entry=calibration_entry,
    message:
        "calibrating the layers of {wildcards.checkpoint}, seed {wildcards.seed}"
    script:
        "../scripts/calibrate.py"


rule compress_whole_model:
    """Code all matrices of a checkpoint at once.

    A ratio out of reach is recorded in result.json.
    """
    input:
        unpack(code_inputs),
    output:
        directory("results/compressed/{checkpoint}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/compress_whole_model/{checkpoint}-seed{seed}-{variant}-{ratio}.log",
    wildcard_constraints:
        variant=names(v.name for v in STUDY.variants.values() if v.codes_whole_model),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("compress_whole_model", method_modules),
        kind=calibration_kind,
        is_finetuned=is_finetuned,
        settings=fit_settings,
        patterns=layer_patterns,
    message:
        "coding all matrices of {wildcards.checkpoint} with {wildcards.variant} at {wildcards.ratio}x, seed {wildcards.seed}"
    script:
        "../scripts/compress_whole_model.py"


rule compress:
    """Compress a checkpoint by one variant at one ratio.

    A ratio out of reach is recorded in result.json.
    """
    input:
        unpack(compress_inputs),
    output:
        directory("results/compressed/{checkpoint}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/compress/{checkpoint}-seed{seed}-{variant}-{ratio}.log",
    wildcard_constraints:
        variant=names(
            v.name for v in STUDY.variants.values() if not v.codes_whole_model
        ),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(3000),
        runtime=per_attempt(120),
    params:
        code=code_of("compress", method_modules),
        settings=fit_settings,
        patterns=layer_patterns,
    message:
        "compressing {wildcards.checkpoint} with {wildcards.variant} at {wildcards.ratio}x, seed {wildcards.seed}"
    script:
        "../scripts/compress.py"
