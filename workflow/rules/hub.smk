"""Models and corpora of the hub at their pinned revisions, fetched where Snakemake runs, as other machines may be offline."""


localrules:
    hub_model,
    hub_corpus,


rule hub_model:
    """Fetch a model's config, tokenizer and safetensors weights; nothing that could run code."""
    output:
        directory("results/hub_models/{model}"),
    log:
        "results/logs/hub_model/{model}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        code=code_of("hub_model"),
        hub=hub_model,
    message:
        "fetching model {wildcards.model}"
    script:
        "../scripts/hub_model.py"


rule hub_corpus:
    """Fetch the data files of a corpus."""
    output:
        directory("results/hub_corpora/{corpus}"),
    log:
        "results/logs/hub_corpus/{corpus}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        code=code_of("hub_corpus"),
        hub=hub_corpus,
    message:
        "fetching corpus {wildcards.corpus}"
    script:
        "../scripts/hub_corpus.py"
