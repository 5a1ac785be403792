"""Rule compress."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.compression import compress_checkpoint

    torch.set_num_threads(snakemake.threads)
    entry, chosen = snakemake.params.entry, snakemake.wildcards
    sensitivity = snakemake.input.get("sensitivity")
    result = compress_checkpoint(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.counts),
        entry.get("method", chosen.variant),
        entry.get("options", {}),
        float(chosen.ratio),
        int(chosen.seed),
        Path(snakemake.output[0]),
        throttled(log),
        sensitivity and Path(sensitivity),
    )
    log.info("%s", result)
