"""Fit one variant at one ratio."""

from pathlib import Path

from job import read_device, run, throttled

with run(snakemake) as log:
    import torch

    from embpress.fidelity.record import Infeasible
    from embpress.pipeline.compression import FitInputs, compress_checkpoint
    from embpress.study.artefact import Artefact
    from embpress.study.method_entry import FitSettings

    torch.set_num_threads(snakemake.threads)
    settings = FitSettings.model_validate(snakemake.params.settings)
    chosen = snakemake.wildcards
    sensitivity = snakemake.input.get("sensitivity")
    inputs = FitInputs(
        Path(snakemake.input.checkpoint),
        Path(snakemake.input.counts),
        Path(sensitivity) if sensitivity else None,
        read_device(snakemake),
    )
    folder = Path(snakemake.output[0])
    artefact = Artefact(folder, chosen.variant, float(chosen.ratio), int(chosen.seed))
    if settings.compresses_layers:
        from embpress.pipeline.layer_compression import compress_modules  # imports transformers

        patterns = snakemake.params.patterns
        result = compress_modules(inputs, settings, artefact, throttled(log), patterns)
    elif settings.trims_vocabulary:
        from embpress.pipeline.trimmed_checkpoint import trim_checkpoint  # imports transformers

        result = trim_checkpoint(inputs, artefact, throttled(log))
    else:
        (spec,) = settings.matrices
        result = compress_checkpoint(inputs, spec, artefact, throttled(log))
    if isinstance(result, Infeasible):
        log.info("infeasible: %s", result.reason)
    else:
        log.info("%d bits stored", result.stored_bits)
