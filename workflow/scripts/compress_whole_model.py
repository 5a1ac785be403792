"""Code all matrices of a checkpoint at once."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.fidelity.record import Infeasible
    from embpress.pipeline.whole_model_compression import CalibrationInputs, compress_whole_model
    from embpress.study.artefact import Artefact
    from embpress.study.method_entry import FitSettings
    from embpress.tasks import TaskInputs, create_task, task_class

    torch.set_num_threads(snakemake.threads)
    files = {name: Path(path) for name, path in snakemake.input.items()}
    checkpoint = files.pop("checkpoint")
    texts, counts = files.pop("texts", None), files.pop("counts", None)
    entry = snakemake.params.entry
    kind = task_class(entry["kind"])
    if texts is None:
        task = create_task(entry, TaskInputs.of(files))
        head = task.head
    else:  # a model without the head of a labelled task
        task = None
        head = "encoder" if kind.entry_model.has_labels else kind.head
    chosen = snakemake.wildcards
    artefact = Artefact(
        Path(snakemake.output[0]), chosen.variant, float(chosen.ratio), int(chosen.seed)
    )
    result = compress_whole_model(
        CalibrationInputs(checkpoint, head, task, texts, counts),
        FitSettings.model_validate(snakemake.params.settings),
        artefact,
        throttled(log),
        snakemake.params.patterns,
    )
    if isinstance(result, Infeasible):
        log.info("infeasible: %s", result.reason)
    else:
        log.info("%d bits stored", result.stored_bits + (result.other_bits or 0))
