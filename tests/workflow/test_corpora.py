"""The rules that count corpora, on a folder of texts and on the training texts of a task.

With a local model.
"""

import json
import re

import torch
import yaml
from pandas import read_csv

from embpress import storage
from embpress.data.texts import read_texts
from embpress.data.token_counts import read_counts
from embpress.data.words import count_words, read_words
from embpress.fidelity.reconstruction import reconstruction
from embpress.files import write_json
from embpress.methods import compress
from embpress.methods._base import Context
from embpress.models.checkpoints import embedding_matrix

from ..tiny_study import finish, start, write_study
from .runs import run_snakemake


def test_a_folder_and_a_task_are_counted_from_the_config_alone(
    tmp_path, default_config, bert, wordpiece
):
    bert.save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    texts = [f"the cat {i % 3} dogs, abc" for i in range(100)]
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("\n".join(texts[:60]))
    (tmp_path / "texts/b.jsonl").write_text(
        "\n".join(json.dumps({"text": text}) for text in texts[60:])
    )
    (tmp_path / "own.csv").write_text(
        "a,b,score\n" + "".join(f"the cat {i},a dog {i},{i}\n" for i in range(20))
    )
    data = {
        "format": "csv",
        "train": "own.csv",
        "test": "own.csv",
        "text": ["a", "b"],
        "label": "score",
    }
    task = {
        "label": "Own",
        "kind": "regression",
        "protocol": "finetune_then_compress",
        "model": "own",
        "corpus": "trained",
    }
    task |= {"data": data, "test_examples": 5, "max_length": 8}
    study = default_config | {
        "models": {"own": {"label": "Own", "format": "transformers", "path": "model"}},
        "corpora": {
            "texts": {"format": "folder", "path": "texts", "held_out": 0.1},
            "trained": {"format": "task", "task": "own_task"},
        },
        "tasks": {
            "own_task": task | {"finetune": {"epochs": 1, "batch_size": 4, "learning_rate": 1e-4}}
        },
        "methods": {"identity": {}},
    }
    del study["claims"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    wanted = [
        f"results/frequency/{corpus}/tokens-own.safetensors" for corpus in ("texts", "trained")
    ]
    run_snakemake(tmp_path, tmp_path / "study.yaml", "--cores", "2", "--", *wanted)
    results = tmp_path / "results"
    held_out, counted = (
        read_texts(results / f"corpora/texts/{name}.jsonl") for name in ("held_out", "counted")
    )
    assert len(held_out) == 10 and sorted(held_out + counted) == sorted(texts)
    words = read_words(results / "frequency/texts/words.tsv")
    assert words == count_words(counted, "runs")
    for corpus in ("texts", "trained"):
        read = read_texts(results / f"corpora/{corpus}/counted.jsonl")
        ids = [i for text in read for i in wordpiece(text, add_special_tokens=False)["input_ids"]]
        found = read_counts(results / f"frequency/{corpus}/tokens-own.safetensors")
        expected = torch.bincount(torch.tensor(ids), minlength=len(found))
        # Each text is a line, and an input of the model.
        expected[wordpiece.convert_tokens_to_ids(["[CLS]", "[SEP]"])] = len(read)
        assert torch.equal(found, expected)
    # Texts of a pair, but none of the rows that are tested on.
    assert sum(text.startswith("a dog") for text in read) == 15 and len(read) == 30
    assert not list((results / "frequency").glob(".*"))


def test_a_wrong_segmenter_is_refused_before_the_words_are_counted(
    tmp_path, default_config, bert, wordpiece
):
    bert.save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("cats12 cat, dog\n" * 20)
    task = {"label": "Own", "kind": "regression", "protocol": "zero_shot", "model": "own"}
    task |= {"corpus": "texts", "max_length": 8}
    data = {"format": "csv", "test": "own.csv", "text": ["a", "b"], "label": "score"}
    (tmp_path / "own.csv").write_text("a,b,score\nx,y,1\n")
    study = default_config | {
        "models": {"own": {"label": "Own", "format": "transformers", "path": "model"}},
        "corpora": {"texts": {"format": "folder", "path": "texts", "segmenter": "mecab"}},
        "tasks": {"own_task": task | {"data": data}},
        "methods": {"identity": {}},
    }
    del study["claims"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    wanted = "results/frequency/texts/tokens-own.safetensors"
    printed = run_snakemake(
        tmp_path, tmp_path / "study.yaml", "--cores", "1", "--", wanted, succeeds=False
    )
    assert re.search(r"corpora\.texts: .*mecab.*%.*remove `segmenter`", printed)
    assert not (tmp_path / "results/frequency/texts/words.tsv").exists()


def test_a_checkpoint_is_compressed_by_the_counts_of_each_corpus(tmp_path):
    write_study(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("dogs dogs dogs cats abc\n" * 40)
    (tmp_path / "own.csv").write_text("a,b,score\n" + "the cat,a dog,1\nabc,cab,2\nb,a dog,0\n" * 4)
    study = yaml.safe_load((tmp_path / "study.yaml").read_text())
    study["corpora"]["own"] = {"format": "folder", "path": "texts"}
    data = {"format": "csv", "test": "own.csv", "text": ["a", "b"], "label": "score"}
    task = {"label": "X", "kind": "regression", "protocol": "zero_shot", "model": "bert"}
    task |= {"data": data, "max_length": 8}
    study["tasks"] = {corpus: task | {"corpus": corpus} for corpus in ("texts", "own")}
    study["methods"]["svd"] = {"options": {"weighting": "counts"}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    results = tmp_path / "results"
    # An earlier study in this folder had the same task and variant, with another ratio.
    old = {"rule": "compress", "wildcards": {"checkpoint": "bert", "variant": "svd"}}
    write_json(results / "logs/compress/bert-seed0-svd-3.json", old)
    status, output = finish(start(tmp_path, "results/provenance.json", cores=1))
    assert status == 0, output
    counts = {
        c: read_counts(results / f"frequency/{c}/tokens-bert.safetensors") for c in study["tasks"]
    }
    assert not torch.equal(counts["texts"], counts["own"])
    dense = embedding_matrix(results / "models/bert")
    expected = {}
    for corpus, folder in (("texts", "bert"), ("own", "bert+own")):
        expected[corpus] = compress(dense, "svd", 2, Context(counts[corpus]), weighting="counts")
        fitted = storage.load(results / f"compressed/{folder}/seed0/svd/2")
        torch.testing.assert_close(fitted.dense(), expected[corpus].dense(), rtol=0, atol=1e-5)
    assert (expected["texts"].dense() - expected["own"].dense()).abs().max() > 1e-3
    scores = read_csv(results / "scores.csv").query("method == 'svd'").groupby("task")
    for corpus, matrix in expected.items():
        error = reconstruction(dense, matrix, counts[corpus]).weighted_relative_error
        assert set(scores.get_group(corpus)["weighted_relative_error"].round(5)) == {
            round(error, 5)
        }
    for table in ("deciles", "bounds"):
        models = set(read_csv(results / f"{table}.csv")["model"])
        assert models == {"BERT", "BERT, counts of own"}
    jobs = json.loads((results / "provenance.json").read_text())["jobs"]
    fits = [job["wildcards"] for job in jobs if job["rule"] == "compress"]
    assert sorted((fit["checkpoint"], fit["variant"], fit["ratio"]) for fit in fits) == [
        (checkpoint, *variant)
        for checkpoint in ("bert", "bert+own")
        for variant in (("identity", "1"), ("svd", "2"))
    ]
