"""When a model is trained and when compressed: the protocols of a study's tasks. Imports no torch.

zero_shot: the model as it came is compressed; nothing is trained.
finetune_then_compress: fine-tuned, then compressed.
compress_then_finetune: the model as it came is compressed, then fine-tuned, with its factors or
around them.
compress_then_distil: compressed, then trained to imitate the uncompressed model that was fine-tuned
for the task.

The last two make students. `checkpoint` names the task of the uncompressed fine-tuned model: their
teacher, and the row with which they are compared. What a student's entry does not say itself, that
task's entry says.
"""

import difflib
from typing import Any

from ..errors import UserError
from . import search

STUDENTS = ("compress_then_finetune", "compress_then_distil")
PROTOCOLS = ("zero_shot", "finetune_then_compress", *STUDENTS)
OWN = ("label", "protocol", "checkpoint", "methods", "footnote", "finetune", "distil", "factors")
"""Keys that a student's entry does not take from its teacher's."""
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
    """Tasks with the entries of students spelled out: what they take from their teachers', and
    defaults.

    Raises:
        UserError: if there is no such protocol, or a student names no task whose model is
            fine-tuned.
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
        name: _spelled_out(name, entry, tasks) if is_student(entry) else entry
        for name, entry in tasks.items()
    }


def _spelled_out(name: str, entry: dict[str, Any], tasks: Tasks) -> dict[str, Any]:
    """A student's whole entry."""
    teachers = {
        t: e
        for t, e in tasks.items()
        if isinstance(e, dict) and "finetune" in e and not is_student(e)
    }
    teacher = teachers.get(str(entry.get("checkpoint")))
    if teacher is None:
        known = ", ".join(teachers) or "none"
        raise UserError(
            f"tasks.{name}.checkpoint: {entry['protocol']} needs a fine-tuned task, its teacher, here; there are {known}"
        )
    found = (
        {key: value for key, value in teacher.items() if key not in OWN}
        | {"factors": "trained"}
        | entry
    )
    if entry["protocol"] == "compress_then_finetune":
        return {"finetune": teacher["finetune"]} | found
    if isinstance(found.get("distil"), dict):
        distil = {"terms": TERMS} | found["distil"]
        if isinstance(distil.get("stage1"), dict):
            distil["stage1"] = TEXT_DEFAULTS | distil["stage1"]
        found["distil"] = distil
    return found


def check(name: str, tasks: Tasks) -> None:
    """Check what a student's entry says against the entries of other tasks.

    Raises:
        UserError: with the key at fault and what would be right.
    """
    entry = tasks[name]
    if not is_student(entry):
        return
    own = entry.get("finetune", {})
    if own != tasks[entry["checkpoint"]]["finetune"] and (
        search.is_searched(own) or search.HELD_OUT in own
    ):
        raise UserError(
            f"tasks.{name}.finetune: settings are searched for uncompressed models alone: leave it out to train as is best "
            f"for {entry['checkpoint']}, or give each setting one value"
        )
    owner = text_owner(name, tasks)
    if owner is not None and not isinstance(
        tasks.get(owner, {}).get("distil", {}).get("stage1"), dict
    ):
        raise UserError(
            f"tasks.{name}.distil.stage1: {owner} is no task whose `distil.stage1` says how to train on text"
        )
    if owner is not None and (tasks[owner]["model"], tasks[owner]["factors"]) != (
        entry["model"],
        entry["factors"],
    ):
        raise UserError(
            f"tasks.{name}.distil.stage1: {owner} has another `model` or `factors`: its students do not fit"
        )


def text_owner(name: str, tasks: Tasks) -> str | None:
    """The task whose students, trained on text, a task starts from.

    Itself, another that it names, or none.
    """
    stage = tasks[name].get("distil", {}).get("stage1") if is_student(tasks[name]) else None
    return stage if isinstance(stage, str) else None if stage is None else name


def source_of(name: str, tasks: Tasks) -> str:
    """The checkpoint whose matrices are compressed for a student: the model as it came, or the
    fine-tuned teacher.

    The first stage of distillation imitates the model as it came, so that this one is compressed
    for it.
    """
    entry = tasks[name]
    if entry["protocol"] == "compress_then_finetune" or text_owner(name, tasks) is not None:
        return entry["model"]
    return entry["checkpoint"]
