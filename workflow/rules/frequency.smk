"""Corpora to counts of words and of each model's tokens."""


rule words:
    """Count words, cut by MeCab where the corpus asks for it."""
    input:
        "results/corpora/{corpus}/counted.jsonl",
    output:
        "results/frequency/{corpus}/words.tsv",
    log:
        "results/logs/words/{corpus}.log",
    conda:
        "../../envs/text.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        segmenter=lookup(
            within=config, dpath="corpora/{corpus}/segmenter", default="whitespace"
        ),
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
    message:
        "counting tokens of {wildcards.model} in {wildcards.corpus}"
    script:
        "../scripts/tokens.py"
