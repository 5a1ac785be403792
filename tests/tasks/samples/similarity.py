"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

import zipfile

import numpy as np

WORDS = ["cat", "dog", "abc", "dogs", "cab", "cats", "bab", "the"]


def write(folder):
    lines = [f"{word}\t{WORDS[i - 1]}\t{i}\n" for i, word in enumerate(WORDS)]
    with zipfile.ZipFile(folder / "pairs.whl", "w") as wheel:
        wheel.writestr("sets/simlex999.txt", "".join(lines))
        wheel.writestr("sets/wordsim353.tsv", "# words\n" + "".join(lines[2:]))
    data = {"package": "pairs", "path": "sets", "sets": ["simlex999", "wordsim353"]}
    return {"protocol": "zero_shot", "data": data}, {"pairs": folder / "pairs.whl"}


def perfect(outcomes):
    return {name: np.stack([pairs[:, 1]] * 2, 1) for name, pairs in outcomes.items()}
