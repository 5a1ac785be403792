"""Fit one variant at one ratio."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.pipeline.compression import compress_checkpoint
    from embpress.study.matrix_choices import is_whole_model

    torch.set_num_threads(snakemake.threads)
    wildcards = snakemake.wildcards
    entry = snakemake.params.entry
    files = (Path(snakemake.input.checkpoint), Path(snakemake.input.counts))
    sensitivity = snakemake.input.get("sensitivity")
    settings = (
        float(wildcards.ratio),
        int(wildcards.seed),
        Path(snakemake.output[0]),
        throttled(log),
        Path(sensitivity) if sensitivity else None,
    )
    if is_whole_model(entry):
        from embpress.pipeline.layer_compression import compress_modules  # imports transformers

        patterns = snakemake.params.patterns
        result = compress_modules(*files, wildcards.variant, entry, *settings, patterns=patterns)
    else:
        method = entry.get("method", wildcards.variant)
        options = entry.get("options", {})
        result = compress_checkpoint(*files, method, options, *settings)
    if "infeasible" in result:
        log.info("infeasible: %s", result["infeasible"])
    else:
        log.info("%d bits stored", result["stored_bits"])
