"""Train compressed models further: fine-tuning, and distillation from the uncompressed model."""


rule distil_on_text:
    """Distil the uncompressed model into a compressed one on running text."""
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
        "distilling {wildcards.variant} at {wildcards.ratio}x on text for {wildcards.task}, seed {wildcards.seed}"
    script:
        "../scripts/distil_on_text.py"


rule train_student:
    """Fine-tune a compressed model, or distil the fine-tuned uncompressed model into it."""
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
