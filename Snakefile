"""embpress: compare methods that compress the token embeddings of language models."""

from snakemake.utils import min_version

min_version("9.0")


# A study that is given with --configfile, or by a workflow that includes this one as a module,
# replaces the default study.
# Merged, it would run the methods and tasks of the default study too.
if not workflow.configfiles:

    configfile: f"{workflow.current_basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/paths.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/terminal.smk"
include: "workflow/rules/scheduling.smk"
include: "workflow/rules/worker.smk"
include: "workflow/rules/sources.smk"
include: "workflow/rules/hub.smk"
include: "workflow/rules/frequency.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/compress.smk"
include: "workflow/rules/distill.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"


# Snakemake keeps one block, and calls it only where jobs will run and this workflow is not a module.
onstart:
    remove_job_limit()
    start_worker()


rule all:
    """Make the scores, tables, figures and provenance of the study."""
    default_target: True
    input:
        "results/scores.csv",
        "results/tables/main.tex",
        f"results/figures/{FIGURES[0]}.pdf",
        "results/provenance.json",
        ["results/averages.csv", "results/tables/averages.txt"]
        if STUDY.averages
        else [],
        ["results/claims.csv", "results/tables/claims.tex"] if STUDY.claims else [],
        "results/tables/search.tex" if SEARCHED else [],
        "results/tables/whole_model.tex" if WHOLE_MODELS else [],
