"""Operations of a study are those of its rows, tokens and epochs."""

import pytest
import yaml

from bench.grid import PADDING, Sizes, operations_by_rule

from .studies import ROOT, load

BERT = 85.0e6
COLA = 11 * PADDING
"""Padded tokens of a row of CoLA."""
TRAIN = 8551
TEST = 1043


def operations(*tasks, seeds=(0,), **finetune):
    """Operations of a study with some of the papers' tasks and three rows of tables."""
    config = yaml.safe_load((ROOT / "studies/paper.yaml").read_text())
    config["seeds"] = list(seeds)
    config["tasks"] = {name: config["tasks"][name] for name in tasks}
    config["tasks"]["bert_cola"] |= {"methods": ["identity", "svd"]}
    config["tasks"]["bert_cola"]["finetune"] |= finetune
    config["averages"] = {}
    config["models"] = {"bert": config["models"]["bert"]}
    config["corpora"] = {"wikipedia_en": config["corpora"]["wikipedia_en"]}
    return operations_by_rule(load(config), Sizes(load(config), config["tasks"]))


def test_a_forward_pass_takes_two_operations_a_parameter_and_training_six():
    counted = operations("bert_cola")
    assert counted["finetune"] == pytest.approx(6 * BERT * TRAIN * COLA * 3)
    # The uncompressed model, and SVD at three ratios.
    assert counted["evaluate"] == pytest.approx(2 * BERT * TEST * COLA * 4)
    assert set(counted) == {"finetune", "evaluate"}


def test_each_seed_counts_but_the_search_runs_once():
    one = operations("bert_cola", learning_rate=[1e-5, 2e-5], held_out=0.1)
    three = operations("bert_cola", seeds=(0, 1, 2), learning_rate=[1e-5, 2e-5], held_out=0.1)
    assert one["search"] == three["search"] == pytest.approx(6 * BERT * TRAIN * COLA * 6 * 0.9)
    assert three["finetune"] == pytest.approx(3 * one["finetune"])


def test_a_student_is_trained_on_its_checkpoints_rows():
    counted = operations("bert_cola", "bert_cola_after")
    # SVD, B21 and LightToken at three ratios, three epochs each.
    assert counted["train_student"] == pytest.approx(6 * BERT * TRAIN * COLA * 3 * 9)
