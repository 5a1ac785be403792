"""Checkpoints to compressed embedding matrices."""


rule compress:
    """Fit one method at one ratio; where it cannot reach the ratio, say so in result.json instead."""
    input:
        unpack(compress_inputs),
        method=method_files,
    output:
        directory("results/compressed/{checkpoint}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/compress/{checkpoint}-seed{seed}-{variant}-{ratio}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        entry=lookup(within=config, dpath="methods/{variant}"),
    message:
        "compressing {wildcards.checkpoint} by {wildcards.variant} at {wildcards.ratio}x, seed {wildcards.seed}"
    script:
        "../scripts/compress.py"
