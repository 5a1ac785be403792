"""Rule sensitivity."""

from pathlib import Path

from job import read_device, run, throttled

with run(snakemake) as log:
    import torch

    from embpress.data.texts import read_texts
    from embpress.models.sensitivity import SensitivitySettings, compute_checkpoint_sensitivities
    from embpress.models.sensitivity_file import write_sensitivity

    torch.set_num_threads(snakemake.threads)
    texts = read_texts(Path(snakemake.input.texts))
    params = snakemake.params
    settings = SensitivitySettings(
        params.tokens, int(snakemake.wildcards.seed), params.kinds, params.patterns
    )
    sensitivities = compute_checkpoint_sensitivities(
        Path(snakemake.input.checkpoint), texts, settings, throttled(log), read_device(snakemake)
    )
    for name, values in sensitivities.items():
        log.info("%s: %d of %d rows have a gradient", name, int((values > 0).sum()), len(values))
    write_sensitivity(sensitivities, Path(snakemake.output[0]))
