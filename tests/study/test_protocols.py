"""Entries of students: what they take from their teachers, and what is wrong with some."""

import pytest

from embpress.errors import UserError
from embpress.pipeline.aggregation import checkpoint_label

from ..studies import load

TERMS = ("embeddings", "attention", "hidden", "logits", "task")
TRAINING = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-4}
ON_TEXT = {"corpus": "wikipedia", "tokens": 4096} | TRAINING
STUDENT = {
    "label": "Student",
    "protocol": "compress_then_distil",
    "checkpoint": "rotten",
    "distil": {"stage2": TRAINING},
}


def checked(default_config, **entries):
    """The default study with further tasks."""
    return load(default_config | {"tasks": default_config["tasks"] | entries})


def test_a_student_inherits_missing_keys_from_its_teacher(default_config):
    tuned = {
        "label": "Tuned",
        "protocol": "compress_then_finetune",
        "checkpoint": "rotten",
        "max_length": 32,
    }
    on_text = STUDENT | {"distil": {"stage2": TRAINING, "stage1": ON_TEXT, "terms": ["task"]}}
    same = STUDENT | {"distil": {"stage2": TRAINING, "stage1": "on_text"}}
    study = checked(default_config, distilled=STUDENT, tuned=tuned, on_text=on_text, same=same)
    tasks = study.tasks
    for name in ("distilled", "tuned", "on_text", "same"):
        assert tasks[name].data == tasks["rotten"].data and tasks[name].trains_factors
        assert study.checkpoint_of(name) == "rotten"
    assert tasks["tuned"].finetune == tasks["rotten"].finetune and tasks["tuned"].max_length == 32
    assert tasks["distilled"].finetune is None
    assert tasks["distilled"].distil.terms == TERMS
    assert tasks["on_text"].distil.stage1.block == 128
    # A student of the pre-trained model is compressed from it, others from the fine-tuned model.
    sources = {name: study.source_of(name) for name in tasks}
    assert sources["distilled"] == sources["rotten"] == "rotten"
    assert sources["tuned"] == sources["on_text"] == sources["same"] == "minilm"
    assert study.corpus_of("minilm") == "wikipedia"
    owners = [study.text_stage_owner(name) for name in ("rotten", "distilled", "on_text", "same")]
    assert owners == [None, None, "on_text", "on_text"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"checkpoint": "roten"},
            "tasks.s.checkpoint: compress_then_distil needs .*fine-tuned task.*rotten",
        ),
        (
            {"checkpoint": "bitext"},
            "tasks.s.checkpoint: compress_then_distil needs .*fine-tuned task",
        ),
        (
            {"checkpoint": ["rotten"]},
            "tasks.s.checkpoint: compress_then_distil needs .*fine-tuned task",
        ),
        (
            {"protocol": "compress_then_distill"},
            "tasks.s: .*'compress_then_distill'.*'compress_then_distil'",
        ),
        (
            {"distil": None},
            "tasks.s: 'distil' is missing.*compress_then_distil",
        ),
        (
            {"finetune": TRAINING},
            "tasks.s.finetune: compress_then_distil .*`distil`.*: remove",
        ),
        ({"distil": {"terms": ["task"]}}, "tasks.s.distil: 'stage2' is missing"),
        (
            {"distil": {"stage2": TRAINING, "terms": ["attentions"]}},
            "tasks.s.distil.terms.0: 'attentions' .*did you mean 'attention'",
        ),
        (
            {"distil": {"stage2": TRAINING | {"epoch": 2}}},
            "tasks.s.distil.stage2: unknown key 'epoch'; did you mean 'epochs'",
        ),
        (
            {"distil": {"stage2": TRAINING, "stage1": "rotten"}},
            "tasks.s.distil.stage1: rotten ",
        ),
        (
            {"distil": {"stage2": TRAINING, "stage1": ON_TEXT | {"corpus": "news"}}},
            "corpus 'news' is not under `corpora:`",
        ),
        (
            {"distil": {"stage2": TRAINING, "stage1": ON_TEXT | {"terms": ["logits"]}}},
            "tasks.s.distil.stage1",
        ),
        ({"factors": "half"}, "tasks.s.factors: 'half' is not one of"),
        (
            {"protocol": "compress_then_finetune"},
            "tasks.s.distil: compress_then_finetune .*`finetune`.*: remove",
        ),
        ({"protocol": "finetune_then_compress"}, "tasks.s"),
    ],
)
def test_students_that_cannot_be_are_named(change, message, default_config):
    entry = {key: value for key, value in (STUDENT | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        checked(default_config, s=entry)


def test_what_is_of_students_alone_is_refused_elsewhere(default_config):
    default_config["tasks"]["rotten"]["factors"] = "frozen"
    with pytest.raises(
        UserError,
        match="tasks.rotten.factors: .*finetune_then_compress.*: remove",
    ):
        checked(default_config)


@pytest.mark.parametrize("key", ["factors", "corpus"])
def test_students_on_text_fit_only_tasks_of_the_same_switch_and_corpus(default_config, key):
    on_text = STUDENT | {"distil": {"stage2": TRAINING, "stage1": ON_TEXT}}
    other = STUDENT | {"distil": {"stage2": TRAINING, "stage1": "on_text"}}
    other[key] = {"factors": "frozen", "corpus": "software"}[key]
    with pytest.raises(UserError, match=f"tasks.other.distil.stage1: on_text .*`{key}`"):
        checked(default_config, on_text=on_text, other=other)


def test_a_second_corpus_of_a_checkpoint_is_a_fit_of_its_own(default_config):
    again = default_config["tasks"]["similarity"] | {"corpus": "software"}
    tuned = {"label": "x", "protocol": "compress_then_finetune", "checkpoint": "rotten"}
    by_software = tuned | {"corpus": "software"}
    study = checked(default_config, again=again, tuned=tuned, by_software=by_software)
    fits = {task: study.fit_of(task) for task in study.tasks}
    assert fits["rotten"] == fits["rotten_distilled"] == "rotten"
    assert fits["similarity"] == fits["tuned"] == "minilm"
    assert fits["again"] == fits["by_software"] == "minilm+software"
    # Where nothing is trained afterwards, a student's task evaluates its fine-tuned checkpoint.
    assert study.evaluated_fit_of("tuned") == "rotten"
    assert study.evaluated_fit_of("by_software") == "rotten+software"
    assert study.second_fits() == ["minilm+software", "rotten+software"]
    assert study.split_fit("minilm+software") == ("minilm", "software")
    assert study.split_fit("minilm") == ("minilm", "wikipedia")
    labels = [checkpoint_label(study, task) for task in ("similarity", "again")]
    assert labels[1] == f"{labels[0]}, counts of software"
