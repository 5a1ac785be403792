"""The DAG of a study over all benchmarks, as a dry run plans it."""

import yaml

from .runs import planned_jobs

HUB = ["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte", "wnli"]
URLS = ["jcola", "jsts", "jnli", "jcommonsenseqa", "squad"]
TUNED = {"protocol": "finetune_then_compress", "model": "minilm", "corpus": "wikipedia"}
FINETUNE = {"finetune": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}}


def planned(folder, study, *targets):
    """Numbers of jobs by rule."""
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return planned_jobs(folder, folder / "study.yaml", *targets)


def test_models_and_corpora_of_the_hub_folders_and_tasks(tmp_path, default_config):
    del default_config["claims"]
    pinned = {"revision": 40 * "0"}
    hub = {"label": "X", "format": "transformers", "hub": {"model": "owner/x"} | pinned}
    data = {
        "format": "csv",
        "train": "own.csv",
        "test": "own.csv",
        "text": "text",
        "label": "label",
    }
    own = (
        {"label": "Own", "kind": "regression", "data": data, "test_examples": 8, "max_length": 8}
        | TUNED
        | FINETUNE
    )
    (tmp_path / "own.csv").write_text("text,label\n")
    (tmp_path / "texts").mkdir()
    corpora = {
        "big": {
            "format": "hub",
            "hub": {"dataset": "owner/wikipedia", "files": "en/*.parquet"} | pinned,
            "held_out": 0.01,
        },
        "texts": {"format": "folder", "path": "texts", "segmenter": "runs"},
        "trained": {"format": "task", "task": "own"},
    }
    spoken = {
        "label": "LM",
        "kind": "language_modelling",
        "protocol": "zero_shot",
        "tokens": 16,
        "block": 16,
    }
    study = default_config | {
        "models": {"x": hub, "lm": hub | {"causal": True}},
        "corpora": corpora,
        "tasks": {
            "own": own | {"model": "x", "corpus": "trained"},
            "lm_task": spoken | {"model": "lm", "corpus": "texts", "data": {"corpus": "big"}},
            "own2": own | {"model": "x", "corpus": "big"},
        },
        "methods": {"identity": {}, "svd": {}},
        "ratios": [4],
    }
    jobs = planned(tmp_path, study)
    assert jobs["hub_model"] == 2 and jobs["hub_corpus"] == 1
    # The hub's corpus is counted for own2, and its held-out texts are read by lm_task.
    assert (
        jobs["streamed_words"] == 2
        and jobs["task_corpus"] == jobs["words"] == 1
        and jobs["tokens"] == 3
        and jobs["check_segmenter"] == 1  # of the corpus that names one
    )
    assert "corpus" not in jobs


def test_every_split_comes_from_its_own_rule(tmp_path, default_config):
    tasks = {name: {"benchmark": name} | TUNED | FINETUNE for name in HUB + URLS}
    tasks["mnli_mm"] = {"benchmark": "mnli_mismatched", "checkpoint": "mnli"} | TUNED
    tasks["cosine"] = {
        "benchmark": "jsts",
        "protocol": "zero_shot",
        "model": "minilm",
        "corpus": "wikipedia",
    }
    (tmp_path / "own.csv").write_text("text,label\n")
    data = {
        "format": "csv",
        "train": "own.csv",
        "test": "own.csv",
        "text": "text",
        "label": "label",
    }
    tasks["own"] = (
        {"label": "Own", "kind": "regression", "data": data, "test_examples": 8, "max_length": 8}
        | TUNED
        | FINETUNE
    )
    del default_config["claims"]
    study = default_config | {"tasks": tasks, "methods": {"identity": {}, "svd": {}}, "ratios": [4]}
    jobs = planned(tmp_path, study)
    # Mismatched MNLI has its own test split and mnli's model; jsts without training reads what jsts
    # with it reads.
    assert jobs["hub_split"] == 2 * len(HUB) + 1
    assert jobs["download"] == 2 * len(URLS)
    assert jobs["finetune"] == len(HUB + URLS) + 1
    assert jobs["evaluate"] == 2 * len(tasks)


def test_protocols_share_what_they_may_share(tmp_path, default_config):
    """One fine-tuned model for all protocols of a task.

    Matrices of the fine-tuned model and of the one as it came.
    """
    del default_config["claims"]
    training = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}
    on_text = {"corpus": "wikipedia", "tokens": 4096, "terms": ["hidden"]} | training
    student = {"label": "x", "checkpoint": "rotten"}
    distil = student | {"protocol": "compress_then_distil"}
    tasks = {
        "rotten": default_config["tasks"]["rotten"],
        "first": student | {"protocol": "compress_then_finetune"},
        "distilled": distil | {"distil": {"stage2": training}},
        "logits": distil | {"distil": {"stage2": training, "terms": ["logits"]}},
        "on_text": distil | {"distil": {"stage1": on_text, "stage2": training}},
        "same_text": distil
        | {"distil": {"stage1": "on_text", "stage2": training, "terms": ["task"]}},
    }
    study = default_config | {
        "tasks": tasks,
        "methods": {"identity": {}, "svd": {}},
        "ratios": [4, 10],
    }
    jobs = planned(tmp_path, study)
    assert (jobs["finetune"], jobs["model"]) == (1, 1) and not {
        "search",
        "search_table",
    } & jobs.keys()
    assert (
        jobs["compress"] == 1 + 2 * 2
    )  # the uncompressed model; svd of the fine-tuned one and of the one as it came
    assert (jobs["distil_on_text"], jobs["train_student"]) == (2, 5 * 2)
    assert jobs["evaluate"] == 6 * 2


def test_a_code_of_all_matrices_reads_counts_of_the_corpus_unless_it_reads_no_data(
    tmp_path, default_config
):
    del default_config["claims"]
    code = {"method": "ectcq", "modules": "all", "ratios": [8]}
    study = default_config | {
        "tasks": {"rotten": default_config["tasks"]["rotten"] | {"methods": ["code", "data_free"]}},
        "methods": {
            "identity": {},
            "code": code,
            "data_free": code | {"options": {"calibration": False}},
        },
    }
    folder = "results/compressed/rotten/seed0"
    of_code, of_data_free = (
        planned(tmp_path, study, f"{folder}/{method}/8") for method in ("code", "data_free")
    )
    assert of_code["compress_whole_model"] == of_data_free["compress_whole_model"] == 1
    assert of_code["calibrate"] == of_code["tokens"] == 1
    assert not {"calibrate", "tokens"} & of_data_free.keys()
