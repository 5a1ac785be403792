"""Commands and examples of the documentation, and how the tests of it run each."""

import dataclasses

SMOKE = "tests/integration/test_smoke.py"
CONDA = "tests/integration/test_conda.py"
SLURM = "tests/integration/test_slurm.py"
ASKED = "test_what_the_page_asks_slurm_is_answered"


@dataclasses.dataclass
class Run:
    """Run the command, or `instead` if given. It must exit with 0 and print `prints`."""

    instead: str = ""
    prints: str = ""


@dataclasses.dataclass
class Planned:
    """Plan a study that takes too long to run (`-n`). The plan must contain this rule.

    The smoke study runs every rule.
    """

    rule: str


@dataclasses.dataclass
class Made:
    """A target of make: `make -n` must print this line, which other tests or the CI run."""

    line: str


@dataclasses.dataclass
class Elsewhere:
    """Another test runs the command: its name and file."""

    file: str
    test: str


COMMANDS = {
    "pip install '.[faiss]'": Elsewhere(
        "tests/test_installation.py", "test_an_extra_brings_what_its_modules_import"
    ),
    "make results": Made("/snakemake --cores"),
    "make report": Made("/snakemake --cores all results/report.html"),
    "make paper": Made("/snakemake --cores all results/paper/paper.pdf"),
    "make findings": Made("/python -m bench.findings.pages"),
    "python -m bench.findings.keep results": Elsewhere(
        "tests/test_bench_findings.py", "test_a_finished_study_is_kept"
    ),
    "make test": Made("/python -m pytest -n auto"),  # which the CI runs
    "make bench": Made("/python -m bench.lookups"),
    "make bench SCALE=full": Made("/python -m bench.scale --rows full"),
    "python -m bench.ectcq": Elsewhere(
        "tests/test_bench_ectcq.py", "test_a_line_has_the_shares_of_all_bits"
    ),
    "python -m bench.codes": Elsewhere(
        "tests/test_bench_codes.py", "test_a_line_is_measured_once_and_stands_in_the_page"
    ),
    "python -m bench.decoding --results results": Elsewhere(
        "tests/test_bench.py", "test_lookups_of_text_are_timed_by_each_way_to_decode"
    ),
    "python -m bench.lookups --methods int8,T24 --rows 30522 --dims 768": Run(
        "python -m bench.lookups --methods int8 --rows 500 --dims 16 --runs 3", "int8"
    ),
    "python -m bench.gpu": Elsewhere("tests/test_bench.py", "test_a_machine_without_a_gpu_is_told"),
    "python -m bench.gpu --device cpu": Elsewhere(
        "tests/test_bench.py", "test_the_gpu_benchmark_tries_itself_on_the_cpu"
    ),
    ". .venv/bin/activate": Made("-m venv .venv"),
    "snakemake -n": Planned("compress"),
    "snakemake --cores 2": Planned("figures"),
    "snakemake --cores 8": Planned("figures"),
    "snakemake --cores 8 --use-conda": Planned("figures"),
    "snakemake --cores 8 --use-conda --conda-create-envs-only": Elsewhere(
        CONDA, "--conda-create-envs-only"
    ),
    "snakemake --cores 8 --use-conda --conda-prefix /shared/conda": Elsewhere(
        CONDA, "test_every_job_runs_in_an_environment"
    ),
    "snakemake --workflow-profile profiles/slurm": Elsewhere(
        SLURM, "test_the_profile_runs_as_it_is"
    ),
    "make .venv/installed": Made("-m venv .venv"),
    ".venv/bin/snakemake --workflow-profile profiles/slurm": Elsewhere(
        SLURM, "test_the_profile_runs_as_it_is"
    ),
    ".venv/bin/snakemake --workflow-profile profiles/slurm --use-conda "
    "--configfile studies/claims.yaml": Elsewhere(SLURM, "test_every_job_completes_on_the_cluster"),
    'squeue --me -o "%.9i %.9P %.2t %.10M %k"': Elsewhere(SLURM, ASKED),
    "sacct -X -S today -o JobID,State,Elapsed,ReqMem,NodeList,Comment%60": Elsewhere(SLURM, ASKED),
    "sacct -j 4711 -o JobID,State,MaxRSS,ReqMem,ExitCode": Elsewhere(SLURM, ASKED),
    "snakemake --cores 8 --configfile studies/smoke.yaml": Elsewhere(
        SMOKE, "test_tables_figures_and_provenance_are_there"
    ),
    "snakemake --cores 8 --configfile studies/claims.yaml": Planned("claims"),
    "snakemake results/report.html --cores 8 --configfile studies/claims.yaml": Planned("report"),
    "snakemake --cores 8 --directory ratios --configfile studies/ratios.yaml": Planned("scores"),
    "snakemake --report results/snakemake.html": Elsewhere(
        SMOKE, "test_snakemakes_own_report_has_captions_and_categories"
    ),
    "snakemake results/tables/paper_wang2023lighttoken.tex --cores 8": Planned("tables"),
    "snakemake -n --configfile own.yaml": Planned("finetune"),
    "snakemake results/report.html --cores 8 --configfile own.yaml": Planned("report"),
    "embpress table results/scores.csv --task wikitext": Run(prints="SVD"),
    "embpress table results/scores.csv --ratio 10 --method svd --method t24": Run(
        prints="Target ratio 10"
    ),
    "embpress table results/scores.csv --method lighttoken --method svd": Run(
        prints="Target ratio 25"
    ),
    "embpress table results/scores.csv --task similarity --ratio 25": Run(prints="similarity"),
    "embpress budget --model DIR --megabytes 1 --methods integer,svd,t24 --counts counts.tsv": Run(
        prints="best under 1 MB"
    ),
    "embpress budget --model DIR --megabytes 1 --methods integer,svd "
    "--scores results/scores.csv": Run(prints="retention"),
    "embpress budget --model DIR --matrices all --megabytes 9 --calibration texts.txt": Elsewhere(
        "tests/export/test_whole_model_ranking.py",
        "test_the_printed_command_makes_what_was_promised",
    ),
    "embpress compress --model DIR --method integer --ratio 7 --counts counts.tsv "
    "--out DIR-small": Run(prints="written to DIR-small"),
    "embpress compress --model DIR --method ectcq --matrices all --ratio 6 "
    "--calibration texts.txt --out DIR-whole": Run(prints="written to DIR-whole"),
    "embpress export-study results --task rotten_distilled --method kronecker_model --ratio 4 "
    "--out DIR-distilled": Elsewhere(
        "tests/pipeline/test_study_export.py", "test_an_exported_result_predicts_what_was_evaluated"
    ),
    "embpress compress --model DIR --ratio 10 --out DIR-small": Run(prints="written to DIR-small"),
    "embpress compress --model DIR --method vocabulary_trimming --ratio 4 "
    "--text english.txt japanese.txt --out DIR-trimmed": Elsewhere(
        "tests/export/test_trimming.py", "test_the_command_reports_both_vocabularies"
    ),
    "embpress compress --model DIR --method ectcq --ratio 10 --head integer@4 "
    "--out DIR-head": Elsewhere(
        "tests/export/test_head_code.py", "test_the_command_prints_both_sizes"
    ),
    "embpress compress --model DIR --matrix model.embed_tokens_per_layer --ratio 10 "
    "--out DIR-table": Elsewhere(
        "tests/export/test_table_source.py", "test_the_command_names_the_table"
    ),
    "embpress compress --model sentence-transformers/all-MiniLM-L6-v2 --ratio 10 "
    "--out MiniLM-10x": Elsewhere("tests/integrations/test_guide.py", "test_the_guide_runs"),
    "embpress export MiniLM-10x --onnx minilm.onnx": Elsewhere(
        "tests/integrations/test_guide.py", "test_the_guide_runs"
    ),
    "embpress export DIR-small --onnx model.onnx": Run(prints="written to model.onnx"),
    "embpress compress --model DIR --method integer --ratio 7 --option bits=4 --out DIR-int4": Run(
        prints="written to DIR-int4"
    ),
    "embpress export DIR-int4 --gguf table.gguf": Run(prints="Q4_0"),
    "embpress export DIR-int4 --compressed-tensors DIR-packed": Run(prints="int4"),
    "embpress inspect DIR-small": Run(prints="compressed by"),
    "python -m pytest tests/methods/test_contract.py -k pca": Run(prints="passed"),
    "python -m pytest tests/test_storage.py": Run(prints="passed"),
    "python -m pytest tests/tasks/test_contract.py -k cloze": Run(prints="passed"),
    "embpress compress --model DIR --method pca --ratio 4 --out DIR-pca": Run(
        prints="written to DIR-pca"
    ),
}
SHORTER = {
    "torch.randn(30522, 384)": "torch.randn(2100, 64)",
    '"lighttoken", ratio=25': '"lighttoken", ratio=8',
}
"""Shorter text in place of a part of a Python example."""
PYTHON_ELSEWHERE = {
    "MiniLM-10x": Elsewhere("tests/integrations/test_guide.py", "test_the_guide_runs"),
    "import mteb": Elsewhere(
        "tests/integrations/test_recipes.py", "test_mteb_evaluates_variants_side_by_side"
    ),
    "import lm_eval": Elsewhere(
        "tests/integrations/test_recipes.py",
        "test_lm_eval_gives_an_uncompressed_model_the_scores_of_the_dense_one",
    ),
    "safetensors_matrix(Path": Elsewhere("tests/numerics/test_matrices.py", "safetensors_matrix"),
}
"""Python examples that need files, data or packages which only the tests named here have."""
