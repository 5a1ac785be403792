"""Count the words of corpora, and the tokens of each model in them."""


rule words:
    """Count the words of a corpus, segmented by MeCab where the corpus says so."""
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
    """Count the tokens of a model in a corpus, from the counts of its words, and special tokens."""
    input:
        unpack(tokens_inputs),
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
        corpora=lambda wildcards: {wildcards.corpus: corpus_entry(wildcards)},
    message:
        "counting tokens of {wildcards.model} in {wildcards.corpus}"
    script:
        "../scripts/tokens.py"


rule task_corpus:
    """Write the training texts of a task as a corpus."""
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
        "reading the training texts of corpus {wildcards.corpus}"
    script:
        "../scripts/task_corpus.py"


rule check_segmenter:
    """Check a corpus's `segmenter` on its first texts, before hours are spent on its words."""
    input:
        unpack(check_segmenter_inputs),
    output:
        "results/frequency/{corpus}/segmenter.json",
    log:
        "results/logs/check_segmenter/{corpus}.log",
    wildcard_constraints:
        corpus=names(STUDY.corpora_of("folder", "hub")),
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(2000),
    params:
        code=code_of("check_segmenter"),
        entry=corpus_entry,
    message:
        "checking the segmenter of {wildcards.corpus}"
    script:
        "../scripts/check_segmenter.py"


rule streamed_words:
    """Count the words of a corpus of any size, in several processes with bounded memory.

    A killed job resumes.
    """
    input:
        unpack(streamed_inputs),
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
