"""Compressed models to students: trained again, alone or after their teachers."""


rule distil_on_text:
    """Train a compressed model on running text to imitate the model that it was made from."""
    input:
        unpack(text_student_inputs),
    output:
        directory("results/students_on_text/{task}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/distil_on_text/{task}-seed{seed}-{variant}-{ratio}.log",
    priority: 5
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("distil_on_text", method_modules),
        entry=text_stage,
    message:
        "training {wildcards.variant} at {wildcards.ratio}x on text for {wildcards.task}, seed {wildcards.seed}"
    script:
        "../scripts/distil_on_text.py"


rule train_student:
    """Train a compressed model for a task: fine-tune it, or let it imitate the uncompressed fine-tuned model."""
    input:
        unpack(student_inputs),
    output:
        directory("results/students/{task}/seed{seed}/{variant}/{ratio}"),
    log:
        "results/logs/train_student/{task}-seed{seed}-{variant}-{ratio}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
        runtime=per_attempt(120),
    params:
        code=code_of("train_student", method_modules, task_modules),
        entry=task_entry,
    message:
        "training {wildcards.variant} at {wildcards.ratio}x for {wildcards.task}, seed {wildcards.seed}"
    script:
        "../scripts/train_student.py"
