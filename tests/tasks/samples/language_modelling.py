"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

import json

import numpy as np


def write(folder):
    texts = ["the cat , the dog . a b c abc cab"] * 30
    (folder / "held_out.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    entry = {"protocol": "zero_shot", "data": {"corpus": "c"}, "tokens": 128, "block": 16}
    return entry, {"held_out": folder / "held_out.jsonl"}


def perfect(outcomes):
    return {"nll": np.zeros_like(outcomes["nll"])}
