"""Code all matrices of a checkpoint at once."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.fidelity.record import Infeasible
    from embpress.pipeline.whole_model_compression import CodeInputs, compress_whole_model
    from embpress.study.artefact import Artefact
    from embpress.study.method_entry import FitSettings
    from embpress.tasks import checkpoint_head

    torch.set_num_threads(snakemake.threads)
    files = {name: Path(path) for name, path in snakemake.input.items()}
    params, chosen = snakemake.params, snakemake.wildcards
    inputs = CodeInputs(head=checkpoint_head(params.kind, params.is_finetuned), **files)
    artefact = Artefact(
        Path(snakemake.output[0]), chosen.variant, float(chosen.ratio), int(chosen.seed)
    )
    result = compress_whole_model(
        inputs,
        FitSettings.model_validate(params.settings),
        artefact,
        throttled(log),
        params.patterns,
    )
    if isinstance(result, Infeasible):
        log.info("infeasible: %s", result.reason)
    else:
        log.info("%d bits stored", result.stored_bits + (result.other_bits or 0))
