"""Rule speed."""

from job import read_study, run, throttled

with run(snakemake) as log:
    import torch

    from embpress.pipeline.aggregation import Evaluation
    from embpress.pipeline.speed import speed

    torch.set_num_threads(1)
    evaluations = [Evaluation.from_json(e) for e in snakemake.params.evaluations]
    found = speed(read_study(snakemake), evaluations, throttled(log))
    found.to_csv(snakemake.output[0], index=False, float_format="%.6g", lineterminator="\n")
