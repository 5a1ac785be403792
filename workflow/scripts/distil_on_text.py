"""Rule distil_on_text."""

from pathlib import Path

from job import read_device, run

with run(snakemake, trains=True):
    from embpress.data.texts import read_texts
    from embpress.study.task_training import TextStage
    from embpress.training.loop import TrainingContext
    from embpress.training.students import StudentInputs, distil_on_text

    files = {name: Path(path) for name, path in snakemake.input.items()}
    entry = snakemake.params.entry
    distil_on_text(
        StudentInputs(files["source"], files["start"], files["counts"]),
        read_texts(files["texts"]),
        TextStage.model_validate(entry["stage1"]),
        entry["trains_factors"],
        TrainingContext(int(snakemake.wildcards.seed), read_device(snakemake)),
        Path(snakemake.output[0]),
    )
