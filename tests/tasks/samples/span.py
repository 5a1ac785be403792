"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

import numpy as np


def write(folder):
    rows = [(f"a cat {'the dog ' * (i + 1)}cab", "a cat", "cab", 6 + 8 * (i + 1)) for i in range(6)]
    lines = [",".join(map(str, row)) + "\n" for row in rows]
    for split in ("train", "test"):
        (folder / f"{split}.csv").write_text("context,question,answer,start\n" + "".join(lines))
    data = {"format": "csv", "text": ["context", "question"], "label": "answer"}
    data |= {"answer_start": "start", "group": "context"}
    data |= {split: str(folder / f"{split}.csv") for split in ("train", "test")}
    return {"data": data, "unit": "words", "stride": 4, "max_length": 16}, {}


def perfect(outcomes):
    return {name: np.ones_like(values) for name, values in outcomes.items()}
