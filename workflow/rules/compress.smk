"""Checkpoints to compressed matrices, and to the sensitivity of the model to each row of them."""


rule sensitivity:
    """Measure on counted text, never on held-out text, how much a model answers to each row of its embedding."""
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
        "measuring the sensitivity of {wildcards.checkpoint} to its rows, seed {wildcards.seed}"
    script:
        "../scripts/sensitivity.py"


rule compress:
    """Fit one method at one ratio; where it cannot reach the ratio, say so in result.json instead."""
    input:
        unpack(compress_inputs),
    output:
        directory("results/compressed/{checkpoint}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/compress/{checkpoint}-seed{seed}-{variant}-{ratio}.log",
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
        "compressing {wildcards.checkpoint} by {wildcards.variant} at {wildcards.ratio}x, seed {wildcards.seed}"
    script:
        "../scripts/compress.py"
