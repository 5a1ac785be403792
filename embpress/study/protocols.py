"""Protocols: the order in which a task's model is trained and compressed. Imports no torch.

zero_shot: the pre-trained model is compressed; nothing is trained.
finetune_then_compress: the model is fine-tuned, then compressed.
compress_then_finetune: the pre-trained model is compressed, then fine-tuned.
compress_then_distil: the model is compressed, then trained to imitate the uncompressed model that
was fine-tuned for the task.

The last two train students: models that are trained after their compression. `checkpoint` names the
task whose fine-tuned, uncompressed model is the teacher; students are compared with its scores. A
student's entry inherits the keys that it does not give itself from the entry of that task.
"""

from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from .fields import nearest
from .task_entry import STUDENT_PROTOCOLS, LabelledTaskEntry, TaskEntry
from .task_training import TextStage

PROTOCOLS = ("zero_shot", "finetune_then_compress", *STUDENT_PROTOCOLS)
NOT_INHERITED = (
    *("label", "protocol", "checkpoint", "methods", "footnote"),
    *("finetune", "distil", "factors"),
)
"""Keys that a student's entry does not inherit from its teacher's."""

RawTask = Mapping[str, Any]
"""An entry as YAML holds it."""


def resolve_students(tasks: Mapping[str, RawTask]) -> dict[str, RawTask]:
    """Entries of tasks, with what students inherit from their teachers' entries.

    Raises:
        UserError: if there is no such protocol, or a student names no task that is fine-tuned.
    """
    for name, entry in tasks.items():
        protocol = entry.get("protocol") if isinstance(entry, dict) else None
        if protocol is not None and protocol not in PROTOCOLS:
            hint = nearest(str(protocol), PROTOCOLS)
            raise UserError(f"tasks.{name}: there is no protocol {protocol!r}{hint}")
    return {
        name: _inherit(name, entry, tasks) if _is_student(entry) else entry
        for name, entry in tasks.items()
    }


def _is_student(entry: object) -> bool:
    """Whether an entry that is not validated yet trains students."""
    return isinstance(entry, dict) and entry.get("protocol") in STUDENT_PROTOCOLS


def _inherit(name: str, entry: RawTask, tasks: Mapping[str, RawTask]) -> RawTask:
    """A student's whole entry."""
    teachers = {
        task: other
        for task, other in tasks.items()
        if isinstance(other, dict) and "finetune" in other and not _is_student(other)
    }
    teacher = teachers.get(str(entry.get("checkpoint")))
    if teacher is None:
        known = ", ".join(teachers) or "none"
        raise UserError(
            f"tasks.{name}.checkpoint: {entry['protocol']} needs the name of a fine-tuned task, "
            f"the teacher; there are {known}"
        )
    inherited = {key: value for key, value in teacher.items() if key not in NOT_INHERITED}
    if entry["protocol"] == "compress_then_finetune":
        inherited["finetune"] = teacher["finetune"]
    return inherited | dict(entry)


def check_student(name: str, tasks: Mapping[str, TaskEntry]) -> None:
    """Check that a student's entry fits its teacher's and the students that it starts from.

    Raises:
        UserError: with the key at fault and the remedy.
    """
    entry = tasks[name]
    if isinstance(entry, LabelledTaskEntry) and entry.is_student:
        _check_student_settings(name, entry, tasks)
        _check_text_stage(name, entry, tasks)


def _check_student_settings(
    name: str, entry: LabelledTaskEntry, tasks: Mapping[str, TaskEntry]
) -> None:
    """A student's own settings of fine-tuning are not searched."""
    own = entry.finetune
    teacher = tasks.get(str(entry.checkpoint))
    inherited = isinstance(teacher, LabelledTaskEntry) and own == teacher.finetune
    if own is None or inherited:
        return
    if own.is_searched or own.held_out is not None:
        raise UserError(
            f"tasks.{name}.finetune: settings are searched for uncompressed models only: remove it "
            f"to train with the best settings of {entry.checkpoint}, or give each setting one value"
        )


def _check_text_stage(name: str, entry: LabelledTaskEntry, tasks: Mapping[str, TaskEntry]) -> None:
    """The task whose students on text are used has such students, of the same kind."""
    owner = text_stage_owner(name, entry)
    if owner is None:
        return
    place = f"tasks.{name}.distil.stage1"
    other = tasks.get(owner)
    distil = other.distil if isinstance(other, LabelledTaskEntry) else None
    if distil is None or not isinstance(distil.stage1, TextStage):
        raise UserError(
            f"{place}: {owner} is no task whose `distil.stage1` says how to train on text"
        )
    assert isinstance(other, LabelledTaskEntry)
    for key in ("model", "corpus", "trains_factors"):
        if getattr(other, key) != getattr(entry, key):
            raise UserError(
                f"{place}: {owner} has another `{key.removeprefix('trains_')}`, so that its "
                "students do not fit: name a task with the same"
            )


def text_stage_owner(name: str, entry: TaskEntry) -> str | None:
    """The task whose students, trained on text, a task starts from: itself, another, or none."""
    distil = entry.distil if isinstance(entry, LabelledTaskEntry) and entry.is_student else None
    stage = distil.stage1 if distil is not None else None
    if stage is None or isinstance(stage, str):
        return stage
    return name
