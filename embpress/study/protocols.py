"""Protocols of a study's tasks: the order in which a model is trained and compressed.

zero_shot: the pre-trained model is compressed; nothing is trained.
finetune_then_compress: the model is fine-tuned, then compressed.
compress_then_finetune: the pre-trained model is compressed, then fine-tuned, with the compressed
matrices' factors trained or frozen.
compress_then_distil: the model is compressed, then trained to imitate the uncompressed model that
was fine-tuned for the task.

The last two make students. `checkpoint` names the task of the uncompressed fine-tuned model, which
is their teacher and the baseline of their scores. A student's entry inherits the keys that it lacks
from that task's entry. Imports no torch.
"""

import difflib
from typing import Any

from ..errors import UserError
from . import search

STUDENTS = ("compress_then_finetune", "compress_then_distil")
PROTOCOLS = ("zero_shot", "finetune_then_compress", *STUDENTS)
OWN = ("label", "protocol", "checkpoint", "methods", "footnote", "finetune", "distil", "factors")
"""Keys that a student's entry does not inherit from its teacher's."""
TERMS = ["embeddings", "attention", "hidden", "logits", "task"]
TEXT_DEFAULTS: dict[str, Any] = {
    "terms": ["embeddings", "attention", "hidden", "task"],
    "block": 128,
}

Tasks = dict[str, dict[str, Any]]


def is_student(entry: dict[str, Any]) -> bool:
    """Whether a task trains models after their compression."""
    return isinstance(entry, dict) and entry.get("protocol") in STUDENTS


def resolve(tasks: Tasks) -> Tasks:
    """Complete the entries of students with their teachers' keys and with defaults.

    Raises:
        UserError: if a protocol is unknown, or a student names no task whose model is fine-tuned.
    """
    if not isinstance(tasks, dict):
        return tasks  # the schema refuses it
    for name, entry in tasks.items():
        protocol = entry.get("protocol") if isinstance(entry, dict) else None
        if protocol is not None and protocol not in PROTOCOLS:
            close = difflib.get_close_matches(str(protocol), PROTOCOLS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(PROTOCOLS)}"
            raise UserError(f"tasks.{name}: there is no protocol {protocol!r}; {hint}")
    return {
        name: _complete(name, entry, tasks) if is_student(entry) else entry
        for name, entry in tasks.items()
    }


def _complete(name: str, entry: dict[str, Any], tasks: Tasks) -> dict[str, Any]:
    """A student's entry with inherited keys and defaults."""
    teachers = {
        t: e
        for t, e in tasks.items()
        if isinstance(e, dict) and "finetune" in e and not is_student(e)
    }
    teacher = teachers.get(str(entry.get("checkpoint")))
    if teacher is None:
        known = ", ".join(teachers) or "none"
        raise UserError(
            f"tasks.{name}.checkpoint: {entry['protocol']} needs a fine-tuned task as teacher; "
            f"there are {known}"
        )
    complete = (
        {key: value for key, value in teacher.items() if key not in OWN}
        | {"factors": "trained"}
        | entry
    )
    if entry["protocol"] == "compress_then_finetune":
        return {"finetune": teacher["finetune"]} | complete
    if isinstance(complete.get("distil"), dict):
        distil = {"terms": TERMS} | complete["distil"]
        if isinstance(distil.get("stage1"), dict):
            distil["stage1"] = TEXT_DEFAULTS | distil["stage1"]
        complete["distil"] = distil
    return complete


def check(name: str, tasks: Tasks) -> None:
    """Check the rules for a student's entry that the schema cannot express.

    Raises:
        UserError: with the wrong key and its remedy.
    """
    entry = tasks[name]
    if not is_student(entry):
        wrong = next((key for key in ("distil", "factors") if key in entry), None)
        if wrong:
            raise UserError(
                f"tasks.{name}.{wrong}: {entry['protocol']} trains nothing after compression: "
                "remove it"
            )
        return
    needed, other = (
        ("finetune", "distil")
        if entry["protocol"] == "compress_then_finetune"
        else ("distil", "finetune")
    )
    if needed not in entry:
        raise UserError(
            f"tasks.{name}: {needed!r} is missing: {entry['protocol']} needs its training settings"
        )
    if other in entry:
        raise UserError(
            f"tasks.{name}.{other}: {entry['protocol']} trains by `{needed}`: remove it"
        )
    own = entry.get("finetune", {})
    if own != tasks[entry["checkpoint"]]["finetune"] and (
        search.is_searched(own) or search.HELD_OUT in own
    ):
        raise UserError(
            f"tasks.{name}.finetune: settings are searched for uncompressed models only: leave it "
            f"out to use the best ones of {entry['checkpoint']}, or give each setting one value"
        )
    owner = text_owner(name, tasks)
    if owner is not None and not isinstance(
        tasks.get(owner, {}).get("distil", {}).get("stage1"), dict
    ):
        raise UserError(
            f"tasks.{name}.distil.stage1: {owner} is not a task with settings for training on text "
            "under `distil.stage1`"
        )
    if owner is not None and (tasks[owner]["model"], tasks[owner]["factors"]) != (
        entry["model"],
        entry["factors"],
    ):
        raise UserError(
            f"tasks.{name}.distil.stage1: {owner} has another `model` or `factors`: name a task "
            "with the same"
        )


def text_owner(name: str, tasks: Tasks) -> str | None:
    """The task whose students, trained on text, a task's own students start from.

    Returns:
        The task itself, the task that its `distil.stage1` names, or None without such a stage.
    """
    stage = tasks[name].get("distil", {}).get("stage1") if is_student(tasks[name]) else None
    if stage is None or isinstance(stage, str):
        return stage
    return name


def source_of(name: str, tasks: Tasks) -> str:
    """The checkpoint whose matrices are compressed for a student: the pre-trained model or the
    fine-tuned teacher.

    The first stage of distillation imitates the pre-trained model and therefore compresses it.
    """
    entry = tasks[name]
    if entry["protocol"] == "compress_then_finetune" or text_owner(name, tasks) is not None:
        return entry["model"]
    return entry["checkpoint"]
