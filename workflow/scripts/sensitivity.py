"""Rule sensitivity."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.sensitivity import measure
    from embpress.sensitivity_file import write_sensitivity
    from embpress.sources.texts import read_texts

    torch.set_num_threads(snakemake.threads)
    texts, seed = read_texts(Path(snakemake.input.texts)), int(snakemake.wildcards.seed)
    params = snakemake.params
    checkpoint = Path(snakemake.input.checkpoint)
    found = measure(checkpoint, texts, params.tokens, seed, throttled(log), params.kinds, params.patterns)
    for name, values in found.items():
        log.info("%s: %d of %d rows have a gradient", name, int((values > 0).sum()), len(values))
    write_sensitivity(found, Path(snakemake.output[0]))
