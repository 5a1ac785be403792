"""Models to checkpoints fine-tuned for a task, by settings that may be searched first."""


rule search:
    """Fine-tune by one candidate of the settings searched, and score it on training examples that are held out."""
    input:
        unpack(search_inputs),
    output:
        "results/search/{task}/seed{seed}/{candidate}.json",
    log:
        "results/logs/search/{task}-seed{seed}-{candidate}.log",
    priority: 10
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("search", task_modules),
        entry=candidate_entry,
        held_out=held_out_share,
    message:
        "searching settings for {wildcards.task}: {wildcards.candidate}"
    script:
        "../scripts/search.py"


rule finetune:
    """Train all weights of a model on a task's training examples."""
    input:
        unpack(finetune_inputs),
    output:
        directory("results/finetuned/{task}/seed{seed}"),
    log:
        "results/logs/finetune/{task}-seed{seed}.log",
    # Much waits for it, and it is the longest job: it goes first. One thread, or it would wait until all cores are idle.
    priority: 10
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("finetune", task_modules),
        entry=task_entry,
    message:
        "fine-tuning for {wildcards.task}, seed {wildcards.seed}"
    script:
        "../scripts/finetune.py"
