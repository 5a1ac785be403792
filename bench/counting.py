"""Counts of a model's tokens in a corpus: by words in two processes, against the tokenizer run on
all text by two threads.

Without --folder the text is generated: words by Zipf's law, so that new ones keep coming as they do
in real text.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import cache
from itertools import accumulate, islice
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from embpress.data.corpus_counts import CountOutputs, CountSettings, count_corpus
from embpress.data.corpus_tokens import (
    CountedCorpus,
    count_corpus_tokens,
    special_tokens_per_input,
)
from embpress.data.shards import iterate_texts, list_shards
from embpress.data.words import RUN_WORDS
from embpress.models.tokenization import load_tokenizer

from .common import Table, parser, peak_bytes, verdict

PROCESSES = 2
LEAST_PER_SECOND = 1e6
MOST_BYTES = 1 << 30
WORD_TYPES = 3_000_000
WORDS_A_LINE = 40
SYLLABLES = [a + b for a in "bcdfghjklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er")]


def write_text(path: Path, megabytes: float) -> None:
    """Lines of made-up words, the n-th most frequent one with probability ~ (n + 2.7)^-1.2.

    One in eight before a comma.
    """
    generator = np.random.default_rng(0)
    cumulated = np.fromiter(
        accumulate((n + 2.7) ** -1.2 for n in range(WORD_TYPES)), dtype=np.float64, count=WORD_TYPES
    )
    with path.open("w") as file:
        while file.tell() < megabytes * 1e6:
            drawn = np.searchsorted(
                cumulated, generator.random((1000, WORDS_A_LINE)) * cumulated[-1]
            )
            commas = generator.random(drawn.shape) < 0.125
            for line, marks in zip(drawn.tolist(), commas.tolist()):
                file.write(" ".join(word(n) + "," * comma for n, comma in zip(line, marks)) + "\n")


@cache
def word(number: int) -> str:
    """A word of its own for each number, longer for rarer ones."""
    found = ""
    while number >= 0:
        number, last = divmod(number, len(SYLLABLES))
        found += SYLLABLES[last]
        number -= 1
    return found


def write_wordpiece(text: Path, folder: Path) -> None:
    """A tokenizer like BERT's, of 30,000 pieces, trained on the first lines of a text."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    with text.open() as lines:
        first = islice(lines, 50_000)
        backend.train_from_iterator(
            first, trainers.WordPieceTrainer(vocab_size=30_000, special_tokens=["[UNK]"])
        )
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]").save_pretrained(folder)


def ours(folder: str, model: str, segmenter: str, out: str) -> None:
    """A child: count by words; print seconds, tokens and peak memory of its processes as JSON."""
    tokenizer = load_tokenizer(Path(model))
    place = Path(out)
    start = time.perf_counter()
    used = processor_seconds()
    outputs = CountOutputs(place / "words.tsv", place / "counted.jsonl", place / "held_out.jsonl")
    count_corpus(
        list_shards(Path(folder), "text"),
        CountSettings(segmenter or RUN_WORDS),
        outputs,
        place / "shards",
        PROCESSES,
        lambda line: None,
    )
    counted = time.perf_counter()
    corpus = CountedCorpus(
        "bench", outputs.words, outputs.counted, segmenter or None, folder=Path(folder)
    )
    counts, _, n_inputs = count_corpus_tokens(corpus, tokenizer, len(tokenizer))
    for i, times in special_tokens_per_input(tokenizer).items():
        counts[i] -= times * n_inputs
    found = {
        "words": counted - start,
        "tokens": time.perf_counter() - counted,
        "processor": processor_seconds() - used,
    }
    np.save(place / "ours.npy", counts.numpy())
    child = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps(found | {"peak": max(child, peak_bytes())}))


def tokenizer_alone(folder: str, model: str, segmenter: str, out: str) -> None:
    """A child: run the tokenizer on every text; print seconds and peak memory as JSON."""
    backend = load_tokenizer(Path(model)).backend_tokenizer  # type: ignore[attr-defined]
    backend.no_padding()
    backend.no_truncation()
    counts = torch.zeros(backend.get_vocab_size(), dtype=torch.int64)
    start = time.perf_counter()
    used = processor_seconds()
    for shard in list_shards(Path(folder), "text"):
        rest = iterate_texts(shard)
        while texts := list(islice(rest, 2000)):
            encoded = backend.encode_batch_fast(texts, add_special_tokens=False)
            ids = np.fromiter((i for text in encoded for i in text.ids), dtype=np.int64)
            counts += torch.bincount(torch.from_numpy(ids), minlength=len(counts))
    found = {"tokens": time.perf_counter() - start, "processor": processor_seconds() - used}
    np.save(Path(out) / "tokenizer_alone.npy", counts.numpy())
    print(json.dumps(found | {"peak": peak_bytes()}))


def processor_seconds() -> float:
    """Of this process and those that it started, which a loaded machine hardly changes."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def measured(function: str, threads: int, *arguments: object) -> dict[str, float]:
    """What a child prints."""
    code = f"from bench.counting import {function}; {function}(*{tuple(map(str, arguments))!r})"
    environment = os.environ | {
        "TOKENIZERS_PARALLELISM": str(threads > 1).lower(),
        "RAYON_NUM_THREADS": str(threads),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Count the same text both ways, one after the other."""
    options = parser(__doc__)
    options.add_argument("--megabytes", type=float, default=40, help="of generated text")
    options.add_argument("--folder", help="real text instead: .txt, .jsonl and .parquet files")
    options.add_argument(
        "--model",
        help="folder of a tokenizer; else a WordPiece like BERT's is trained on generated text",
    )
    options.add_argument("--segmenter", default="", help="by default it follows from the model")
    chosen = options.parse_args()
    table = Table(
        f"Counting tokens: by words in {PROCESSES} processes, target at least 1 M tokens/s and at "
        "most 1 GiB a process",
        *(
            "text",
            "tokens",
            "words",
            "tokens of words",
            "in all",
            "processor",
            "M tokens/s",
            "peak MiB",
            "speed",
            "memory",
            "counts",
        ),
    )
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        folder = chosen.folder or out / "text"
        model = chosen.model or out / "model"
        if not (chosen.folder and chosen.model):
            (out / "text").mkdir()
            write_text(out / "text/generated.txt", chosen.megabytes)
            write_wordpiece(out / "text/generated.txt", out / "model")
        by_words = measured("ours", 1, folder, model, chosen.segmenter, out)
        alone = measured("tokenizer_alone", PROCESSES, folder, model, chosen.segmenter, out)
        counts = np.load(out / "ours.npy")
        all_text = np.load(out / "tokenizer_alone.npy")
    seconds = by_words["words"] + by_words["tokens"]
    tokens = int(counts.sum())
    missed = np.abs(counts - all_text[: len(counts)]).sum() / all_text.sum()
    table.add(
        chosen.folder or f"{chosen.megabytes:g} MB generated",
        f"{tokens / 1e6:.2f} M",
        f"{by_words['words']:.2f} s",
        f"{by_words['tokens']:.2f} s",
        f"{seconds:.2f} s",
        f"{by_words['processor']:.2f} s",
        f"{tokens / seconds / 1e6:.2f}",
        f"{by_words['peak'] / 2**20:.0f}",
        verdict(tokens / seconds >= LEAST_PER_SECOND),
        verdict(by_words["peak"] <= MOST_BYTES),
        "equal" if not missed else f"{missed:.2%} apart",
    )
    table.add(
        "the tokenizer on all text",
        f"{all_text.sum() / 1e6:.2f} M",
        "-",
        "-",
        f"{alone['tokens']:.2f} s",
        f"{alone['processor']:.2f} s",
        f"{all_text.sum() / alone['tokens'] / 1e6:.2f}",
        f"{alone['peak'] / 2**20:.0f}",
        f"{alone['tokens'] / seconds:.1f} x ours",
        "-",
        "-",
    )
    table.print()


if __name__ == "__main__":
    main()
