"""Rule compress."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.pipeline.compression import FitInputs, compress_checkpoint
    from embpress.pipeline.layer_compression import compress_modules
    from embpress.study.artefact import Artefact
    from embpress.study.matrix_choices import compresses_layers

    torch.set_num_threads(snakemake.threads)
    entry = snakemake.params.entry
    chosen = snakemake.wildcards
    sensitivity = snakemake.input.get("sensitivity")
    inputs = FitInputs(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.counts),
        Path(sensitivity) if sensitivity else None,
    )
    folder = Path(snakemake.output[0])
    artefact = Artefact(folder, chosen.variant, float(chosen.ratio), int(chosen.seed))
    if compresses_layers(entry):
        patterns = snakemake.params.patterns
        result = compress_modules(inputs, entry, artefact, throttled(log), patterns)
    else:
        method = entry.get("method", chosen.variant)
        options = entry.get("options", {})
        result = compress_checkpoint(inputs, method, options, artefact, throttled(log))
    log.info("%s", {key: v for key, v in result.to_json().items() if key != "modules"})
