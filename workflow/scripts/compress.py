"""Rule compress."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.pipeline.compression import compress_checkpoint
    from embpress.study.matrix_choices import is_whole_model

    torch.set_num_threads(snakemake.threads)
    entry = snakemake.params.entry
    chosen = snakemake.wildcards
    files = Path(snakemake.input.checkpoint), Path(snakemake.input.counts)
    sensitivity = snakemake.input.get("sensitivity")
    asked = (
        float(chosen.ratio),
        int(chosen.seed),
        Path(snakemake.output[0]),
        throttled(log),
        sensitivity and Path(sensitivity),
    )
    if is_whole_model(entry):
        from embpress.pipeline.layer_compression import compress_modules

        result = compress_modules(
            *files, chosen.variant, entry, *asked, patterns=snakemake.params.patterns
        )
        log.info("%s", {key: value for key, value in result.items() if key != "modules"})
    else:
        method = entry.get("method", chosen.variant)
        options = entry.get("options", {})
        log.info("%s", compress_checkpoint(*files, method, options, *asked))
