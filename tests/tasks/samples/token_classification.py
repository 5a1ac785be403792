"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

import json

TEXTS = [
    (["the", "cat", ",", "dog"], ["O", "B-PET", "O", "B-PET"]),
    (["abc", "cab", "dogs"], ["B-ORG", "I-ORG", "B-PET"]),
    (["a", "cats"], ["O", "B-PET"]),
    (["bab", "abc", "the", "dog", "."], ["B-ORG", "I-ORG", "O", "B-PET", "O"]),
    (["the", "cab"], ["O", "B-ORG"]),
    (["a", "b", "c"], ["O", "O", "O"]),
]


def write(folder):
    lines = [json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in TEXTS]
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text("".join(lines))
    data = {"format": "jsonl", "text": "words", "label": "tags"}
    data |= {"labels": ["O", "B-PET", "I-PET", "B-ORG", "I-ORG"]}
    data |= {split: str(folder / f"{split}.jsonl") for split in ("train", "test")}
    return {"data": data}, {}


def perfect(outcomes):
    return outcomes | {"correct": outcomes["gold"], "predicted": outcomes["gold"]}
