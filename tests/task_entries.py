"""Entries of tasks for tests, which say only what matters to them."""

from embpress.tasks import create_task, entry_model, parse_entry

FINETUNE = {"epochs": 1, "batch_size": 4, "learning_rate": 1e-3}


def complete(kind, entry):
    """An entry with what is missing of the keys that every task needs."""
    keys = {"label": "A task", "kind": kind, "model": "m", "corpus": "c"}
    if entry_model(kind).has_labels:
        keys |= {"protocol": "finetune_then_compress", "max_length": 16}
        if not {"finetune", "checkpoint"} & entry.keys() and entry.get("protocol") != "zero_shot":
            keys["finetune"] = FINETUNE
    return keys | entry


def make_task(kind, entry, inputs):
    """The task of an entry, completed."""
    return create_task(complete(kind, entry), inputs)


def files_of(entry, splits=("train", "test")):
    """Paths of the files of an entry, completed, by split."""
    return parse_entry(complete(entry["kind"], entry), "tasks.own").sources(splits)
