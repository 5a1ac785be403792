"""The DAG on a real SLURM cluster of three nodes on this machine, in conda environments.

When jobs and nodes are lost.
"""

import json
import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor

import pandas
import pytest

from ..slurm import cluster as slurm
from .conftest import ROOT, Runner, small_study

TASKS = {"rotten": ["identity", "svd"]}
SITE = ["--slurm-partition-config", str(ROOT / "tests/slurm/partitions.yaml")]
POLLING_FAST = (str(ROOT / "tests/slurm/snakemake_polling_fast.py"),)
PROFILE = ["--workflow-profile", str(ROOT / "profiles/slurm")]
# After the first run: one job alone, though it ran in conda and now does not.
ONLY = ["--rerun-triggers", "mtime", "--forcerun"]
WORDS = "results/frequency/wikipedia/words.tsv"
CORPUS = "results/corpora/wikipedia/counted.jsonl"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("environments"),
    pytest.mark.skipif(
        bool(slurm.missing()) and "CI" not in os.environ,
        reason="no cluster can be started here, .ci/run installs what it needs; missing: "
        + ", ".join(slurm.missing()),
    ),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running cluster with accounting."""
    with slurm.Cluster(tmp_path_factory.mktemp("slurm"), accounting=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def finished(tmp_path_factory, conda, cluster):
    """A finished run of a small study on the cluster, and the cluster's jobs after it."""
    folder = tmp_path_factory.mktemp("on_slurm")
    run = Runner(conda.environment, [*PROFILE, *SITE, *conda.options], POLLING_FAST)
    arguments = ["--slurm-status-command", "sacct", "--set-resources", "finetune:gpu=1"]
    status, output = run(folder, small_study(folder, TASKS), *arguments)
    assert status == 0, output[-8000:]
    return folder, cluster.jobs()


@pytest.fixture
def snakemake(finished):
    """Runs on the cluster again in the finished folder, without conda."""
    folder, _ = finished
    run = Runner({}, [*PROFILE, *SITE], POLLING_FAST)
    return lambda *arguments: run(folder, folder / "small.yaml", *arguments)


def test_every_job_completes_on_the_cluster_under_a_readable_name(finished):
    folder, jobs = finished
    assert {job["State"] for job in jobs} == {"COMPLETED"}
    assert all(job["JobName"].startswith("embpress_") for job in jobs)
    comments = [job["Comment"] for job in jobs]
    assert "rule_compress_wildcards_rotten_0_svd_4" in comments and "rule_scores" in comments
    # Nodes have no network: what downloads runs here, all else there.
    ran = {
        job["rule"] for job in json.loads((folder / "results/provenance.json").read_text())["jobs"]
    }
    on_the_cluster = {re.match("rule_([a-z]+)", comment)[1] for comment in comments}
    assert (
        ran - on_the_cluster == {"package"} and {"corpus", "finetune", "claims"} <= on_the_cluster
    )
    assert {job["NodeList"] for job in jobs} == set(slurm.NODES)
    assert pandas.read_csv(folder / "results/scores.csv")["value"].notna().all()


def test_each_rule_asks_for_its_memory_time_partition_and_gpu(finished):
    _, jobs = finished
    asked = {job["Comment"].removeprefix("rule_").partition("_")[0]: job for job in jobs}
    assert (asked["finetune"]["Partition"], asked["finetune"]["NodeList"]) == (
        "gpu",
        slurm.GPU_NODE,
    )
    assert (
        "gres/gpu=1" in asked["finetune"]["AllocTRES"]
        and "gres/gpu" not in asked["compress"]["AllocTRES"]
    )
    assert (asked["compress"]["ReqMem"], asked["compress"]["Timelimit"]) == ("3000M", "02:00:00")
    assert (asked["tables"]["ReqMem"], asked["tables"]["Timelimit"]) == ("1000M", "01:00:00")
    assert asked["compress"]["Partition"] == "cpu"


def test_a_job_out_of_memory_gets_more(finished, snakemake, cluster):
    folder, _ = finished
    before = (folder / WORDS).read_bytes()
    memory = "words:mem_mb=50 if attempt == 1 else 1000"
    status, output = snakemake(*ONLY, "words", "--until", "words", "--set-resources", memory)
    assert status == 0, output[-3000:]
    first, second = cluster.jobs()[-2:]
    assert (first["ReqMem"], second["ReqMem"]) == ("50M", "1000M")
    assert (first["State"], second["State"]) == ("FAILED", "COMPLETED")
    assert (folder / WORDS).read_bytes() == before
    # The error names SLURM's log, and prints it.
    log = f"{folder}/results/logs/slurm/rule_words/wikipedia/{first['JobIDRaw']}.log"
    assert (
        f"SLURM-job '{first['JobIDRaw']}' failed" in output
        and f"log: results/logs/words/wikipedia.log, {log}" in output
    )
    assert "exceeded memory limit" in output


def test_a_lost_node_costs_a_retry_on_another_one_with_more_memory(finished, snakemake, cluster):
    folder, _ = finished
    before = (folder / CORPUS).read_bytes()
    n_jobs = len(cluster.jobs())
    with ThreadPoolExecutor() as pool:
        run = pool.submit(snakemake, *ONLY, "corpus", "--until", "corpus")
        slurm.wait_for(
            "the job runs", lambda: [job["State"] for job in cluster.jobs()[n_jobs:]] == ["RUNNING"]
        )
        node = cluster.jobs()[-1]["NodeList"]
        cluster.lose_node(node)
        status, output = run.result()
    cluster.return_node(node)
    assert status == 0, output[-3000:]
    first, second = cluster.jobs()[-2:]
    assert (first["State"], second["State"]) == ("NODE_FAIL", "COMPLETED")
    assert second["NodeList"] != node
    assert (first["ReqMem"], second["ReqMem"]) == ("1000M", "2000M")
    assert "failed due to a node failure" in output
    assert (folder / CORPUS).read_bytes() == before


def test_what_the_page_asks_slurm_is_answered(cluster, finished):
    page = (ROOT / "docs/operations/slurm.md").read_text().split("```sh")
    lines = [
        line.split(" #")[0] for block in page[1:] for line in block.split("```")[0].splitlines()
    ]
    asked = [shlex.split(line) for line in lines if line.startswith(("squeue", "sacct"))]
    assert len(asked) == 3
    for command in asked:
        assert slurm.tell(*command).strip(), command


def test_the_profile_runs_as_it_is_where_there_is_no_accounting(tmp_path, finished):
    """The last test here: its cluster takes the place of the other."""
    folder, _ = finished
    before = (folder / WORDS).read_bytes()
    with slurm.Cluster(tmp_path, accounting=False) as cluster:
        assert cluster.jobs() == []  # sacct has nothing to say
        status, output = Runner({}, PROFILE)(
            folder, folder / "small.yaml", *ONLY, "words", "--until", "words"
        )
        assert status == 0, output[-3000:]
        jobs = slurm.tell("squeue", "--states=all", "--noheader", "--format=%k %P %T").split("\n")
    assert jobs == ["rule_words_wildcards_wikipedia cpu COMPLETED", ""]
    assert (folder / WORDS).read_bytes() == before
