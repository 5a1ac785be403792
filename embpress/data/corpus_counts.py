"""Count the words of a corpus of any size, several shards at the same time.

The counts of a shard are kept in a scratch folder, so that a killed run continues where it stopped.
Each shard has three files there, which also exist for the whole corpus in the end:

    .tsv             words and their counts
    .counted.jsonl   an excerpt of the counted texts, one JSON string per line
    .held_out.jsonl  the texts that are held out from counting
"""

import hashlib
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

from ..errors import UserError
from ..files import atomic_file
from .shards import Shard, iterate_counted
from .texts import text_line
from .words import PARAGRAPH, RUN_WORDS, count_words, merge_words, write_sorted_words

EXCERPT_TEXTS = 10_000
"""Number of counted texts to keep, spread over all shards, for uses of running text."""


class CountSettings(NamedTuple):
    """How a corpus is counted."""

    segmenter: str = RUN_WORDS
    """A key of SEGMENTERS."""
    held_out: float = 0.0
    """Share of each shard's texts that are held out: every n-th text."""


class CountOutputs(NamedTuple):
    """Files that counting writes."""

    words: Path
    counted: Path
    """Excerpt of the counted texts."""
    held_out: Path


def count_corpus(
    shards: list[Shard],
    settings: CountSettings,
    outputs: CountOutputs,
    scratch: Path,
    processes: int,
    progress: Callable[[str], None],
) -> None:
    """Count all words of a corpus exactly.

    The word table has the same bytes as if all texts were counted at once, also after a kill.

    Args:
        shards: the corpus, as `list_shards` returns it.
        settings: how to count.
        outputs: files to write, each completely or not at all.
        scratch: folder for the counts of shards, which is kept after a kill and deleted at the end.
        processes: number of shards to count at the same time. Memory grows with it, but not with
            the size of the corpus.
        progress: called with a message after each shard.

    Raises:
        UserError: if a shard cannot be read, no text is left to count, or a process is killed.
    """
    excerpt = -(-EXCERPT_TEXTS // len(shards))
    parts = [_shard_outputs(scratch / _hash_shard(shard, settings, excerpt)) for shard in shards]
    # Delete what an earlier run with other files or settings left.
    for stale in set(scratch.glob("*")) - {path for part in parts for path in part}:
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    scratch.mkdir(parents=True, exist_ok=True)
    jobs = [
        _ShardJob(shard, part, settings, excerpt)
        for shard, part in zip(shards, parts)
        if not part.words.exists()
    ]
    _run_jobs(jobs, processes, progress)
    _concatenate([part.counted for part in parts], outputs.counted)
    _concatenate([part.held_out for part in parts], outputs.held_out)
    if not outputs.counted.stat().st_size:
        raise UserError(
            f"{shards[0].path.parent} contains no text to count: check the corpus's entry"
        )
    merging = scratch / "merging"
    merging.mkdir()
    merge_words([part.words for part in parts], outputs.words, merging)
    shutil.rmtree(scratch)


class _ShardJob(NamedTuple):
    """One shard to count."""

    shard: Shard
    outputs: CountOutputs
    settings: CountSettings
    excerpt: int
    """Number of counted texts to keep."""


def _concatenate(files: list[Path], output: Path) -> None:
    """Write the content of files one after another to one file."""
    with atomic_file(output) as file:
        for path in files:
            file.write(path.read_text(encoding="utf-8"))


def _hash_shard(shard: Shard, settings: CountSettings, excerpt: int) -> str:
    """A file name that changes with everything on which the counts of a shard depend."""
    stat = shard.path.stat()
    key = (str(shard.path), stat.st_size, stat.st_mtime_ns, *shard[1:], *settings, excerpt)
    return hashlib.sha256(repr(key).encode()).hexdigest()[:16]


def _shard_outputs(path: Path) -> CountOutputs:
    """Files of a shard in the scratch folder, by their path without suffix."""
    suffixes = (".tsv", ".counted.jsonl", ".held_out.jsonl")
    return CountOutputs(*(path.with_suffix(suffix) for suffix in suffixes))


def _run_jobs(jobs: list[_ShardJob], processes: int, progress: Callable[[str], None]) -> None:
    """Count shards in several processes.

    Raises:
        UserError: if a shard cannot be read, or a process is killed.
    """
    start = time.monotonic()
    n_words = 0
    # A script of Snakemake has no main module that a spawned process could import: fork.
    context = multiprocessing.get_context("fork")
    arguments = (os.getpid(),)
    with ProcessPoolExecutor(max(1, processes), context, _exit_with_parent, arguments) as pool:
        waiting: set[Future[int]] = {pool.submit(_count_shard, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                n_words += sum(future.result() for future in done)
                seconds = time.monotonic() - start
                n_done = len(jobs) - len(waiting)
                minutes_left = seconds / n_done * len(waiting) / 60
                progress(
                    f"{n_done}/{len(jobs)} shards, {n_words / 1e6:.1f} M words, "
                    f"{n_words / seconds / 1e6:.1f} M/s, about {minutes_left:.0f} min left"
                )
        except BrokenProcessPool as error:
            raise UserError(
                "a counting process was killed, probably because it was out of memory: give the "
                "job fewer threads or more memory, and run again; counted shards are kept"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _exit_with_parent(parent: int) -> None:
    """Exit this process when the process that started it is killed, as no one reads its counts."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _count_shard(job: _ShardJob) -> int:
    """Count one shard, and return its number of words.

    The word table is written last: where it exists, the other files are complete.
    """
    outputs = job.outputs

    with atomic_file(outputs.held_out) as held_out, atomic_file(outputs.counted) as counted:

        def iterate() -> Iterator[str]:
            texts = iterate_counted(
                job.shard, job.settings.held_out, lambda text: held_out.write(text_line(text))
            )
            for number, text in enumerate(texts):
                if number < job.excerpt:
                    counted.write(text_line(text))
                yield text

        words = count_words(iterate(), job.settings.segmenter)
    write_sorted_words(words, outputs.words)
    return words.total() - words[PARAGRAPH]
