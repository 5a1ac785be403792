"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

TEXTS = ["the cat", "a dog", "abc", "dogs", "the cab", "a b c", "cats", "bab", "a cab", "the dog"]


def write(folder):
    rows = [(text, TEXTS[i - 1], TEXTS[i - 2], i % 2) for i, text in enumerate(TEXTS)]
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("question,first,second,answer\n" + "".join(lines))
    data = {"format": "csv", "text": "question", "choices": ["first", "second"], "label": "answer"}
    data |= {split: str(folder / f"{split}.csv") for split in ("train", "test")}
    return {"data": data}, {}


def perfect(outcomes):
    return outcomes | {"predicted": outcomes["label"]}
