"""Corpora to counts of words and of each model's tokens."""


rule words:
    """Count words, cut by MeCab where the corpus asks for it."""
    input:
        "results/corpora/{corpus}/counted.jsonl",
    output:
        "results/frequency/{corpus}/words.tsv",
    log:
        "results/logs/words/{corpus}.log",
    wildcard_constraints:
        corpus=names(STUDY.corpora_of("wikipedia", "gettext", "task")),
    conda:
        "../../envs/text.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        code=code_of("words"),
        segmenter=segmenter,
    message:
        "counting words of {wildcards.corpus}"
    script:
        "../scripts/words.py"


rule tokens:
    """Count a model's tokens in a corpus, from its words."""
    input:
        words="results/frequency/{corpus}/words.tsv",
        model="results/models/{model}",
    output:
        "results/frequency/{corpus}/tokens-{model}.safetensors",
    log:
        "results/logs/tokens/{corpus}-{model}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(2000),
    params:
        code=code_of("tokens"),
        segmenter=segmenter,
    message:
        "counting tokens of {wildcards.model} in {wildcards.corpus}"
    script:
        "../scripts/tokens.py"


rule task_corpus:
    """Take the training texts of a task for a corpus."""
    input:
        unpack(task_corpus_inputs),
    output:
        counted="results/corpora/{corpus}/counted.jsonl",
    log:
        "results/logs/task_corpus/{corpus}.log",
    wildcard_constraints:
        corpus=names(STUDY.corpora_of("task")),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(2000),
    params:
        code=code_of("task_corpus", task_modules),
        task=task_corpus_entry,
    message:
        "reading the training texts that {wildcards.corpus} counts"
    script:
        "../scripts/task_corpus.py"


rule streamed_words:
    """Count words of a corpus of any size, in several processes and bounded memory; a killed job goes on where it was."""
    input:
        streamed_folder,
    output:
        words="results/frequency/{corpus}/words.tsv",
        counted="results/corpora/{corpus}/counted.jsonl",
        held_out="results/corpora/{corpus}/held_out.jsonl",
    log:
        "results/logs/streamed_words/{corpus}.log",
    wildcard_constraints:
        corpus=names(STUDY.corpora_of("folder", "hub")),
    conda:
        "../../envs/torch.yaml"
    threads: 8
    resources:
        mem_mb=per_attempt(2900),
    params:
        code=code_of("streamed_words"),
        entry=corpus_entry,
        shards=lambda wildcards: f"results/frequency/.{wildcards.corpus}.shards",
    message:
        "counting words of {wildcards.corpus}"
    script:
        "../scripts/streamed_words.py"
