"""Fine-tune models for tasks, and search for the settings of fine-tuning."""


rule search:
    """Fine-tune with one candidate of the settings, and score it on held-out training examples."""
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
        "trying settings for {wildcards.task}: {wildcards.candidate}"
    script:
        "../scripts/search.py"


rule finetune:
    """Fine-tune all weights of a model on the training examples of a task."""
    input:
        unpack(finetune_inputs),
    output:
        directory("results/finetuned/{task}/seed{seed}"),
    log:
        "results/logs/finetune/{task}-seed{seed}.log",
    # The longest job, on which many others wait, starts first. It has one thread: with more it
    # would wait for idle cores.
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
