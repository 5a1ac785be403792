"""Download models and corpora from the Hugging Face hub at pinned revisions."""

# On a cluster, local rules run where Snakemake runs: compute nodes may be offline.


localrules:
    hub_model,
    hub_corpus,


rule hub_model:
    """Download the config, tokenizer and safetensors weights of a model, and no code."""
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
        "downloading model {wildcards.model}"
    script:
        "../scripts/hub_model.py"


rule hub_corpus:
    """Download the data files of a corpus."""
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
        "downloading corpus {wildcards.corpus}"
    script:
        "../scripts/hub_corpus.py"
