"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

TEXTS = ["the cat", "a dog", "abc", "dogs", "the cab", "a b c", "cats", "bab", "a cab", "the dog"]


def write(folder):
    lines = [f"{text},{('bad', 'good')[i % 2]}\n" for i, text in enumerate(TEXTS)]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("text,mood\n" + "".join(lines))
    data = {"format": "csv", "text": "text", "label": "mood", "labels": ["bad", "good"]}
    data |= {split: str(folder / f"{split}.csv") for split in ("train", "test")}
    return {"data": data, "metrics": ["accuracy", "f1", "matthews"]}, {}


def perfect(outcomes):
    return outcomes | {"predicted": outcomes["label"]}
