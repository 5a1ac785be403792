"""Rule calibrate."""

from pathlib import Path

from job import run, throttled

with run(snakemake) as log:
    import torch

    from embpress.models.calibration_file import write_calibration
    from embpress.pipeline.checkpoint_calibration import CalibrationInputs, calibrate_checkpoint
    from embpress.tasks import TaskInputs, checkpoint_head, create_task

    torch.set_num_threads(snakemake.threads)
    files = {name: Path(path) for name, path in snakemake.input.items()}
    checkpoint, texts = files.pop("checkpoint"), files.pop("texts", None)
    entry = snakemake.params.entry
    inputs = CalibrationInputs(
        checkpoint,
        checkpoint_head(entry["kind"], is_finetuned=texts is None),
        create_task(entry, TaskInputs.of(files)) if texts is None else None,
        texts,
    )
    calibration = calibrate_checkpoint(inputs, int(snakemake.wildcards.seed), throttled(log))
    log.info(
        "%d layers, %d texts, %d tokens",
        len(calibration.moments),
        calibration.n_texts,
        calibration.n_tokens,
    )
    write_calibration(calibration, Path(snakemake.output[0]))
