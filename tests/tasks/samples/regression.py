"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

TEXTS = ["the cat", "a dog", "abc", "dogs", "the cab", "a b c", "cats", "bab", "a cab", "the dog"]


def write(folder):
    lines = [f"{text}\t{TEXTS[i]} {TEXTS[i - 3]}\t{i / 2}\n" for i, text in enumerate(TEXTS)]
    for split in ("train", "test"):
        (folder / f"{split}.tsv").write_text("a\tb\tscore\n" + "".join(lines))
    data = {"format": "tsv", "text": ["a", "b"], "label": "score"}
    data |= {split: str(folder / f"{split}.tsv") for split in ("train", "test")}
    return {"data": data}, {}


def perfect(outcomes):
    return outcomes | {"predicted": outcomes["label"]}
