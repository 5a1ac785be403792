"""Count the words of a corpus of any size.

Shards side by side, each kept once counted, so that a killed run goes on.
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
from .shards import Shard, iterate_texts
from .texts import text_line
from .words import count_words, merge_words, write_sorted_words

EXCERPT_TEXTS = 10_000
"""Counted texts that are kept, from all shards alike, for what needs running text."""


class Setting(NamedTuple):
    """How a corpus is counted."""

    segmenter: str
    held_out: float
    """Share of each shard's texts that is not counted but kept: every n-th."""
    excerpt: int
    """Counted texts to keep of each shard."""


class Outputs(NamedTuple):
    """Files that counting writes."""

    words: Path
    counted: Path
    """An excerpt of the counted texts."""
    held_out: Path


def count_corpus(
    shards: list[Shard],
    segmenter: str,
    held_out: float,
    outputs: Outputs,
    scratch: Path,
    processes: int,
    progress: Callable[[str], None],
) -> None:
    """Count all words, exactly: the table has the bytes of one made from all texts at once,
    whatever was killed in between.

    Args:
        shards: of `list_shards`.
        segmenter: a key of SEGMENTERS.
        held_out: share of the texts that is not counted.
        outputs: each written whole or not at all.
        scratch: folder for counted shards, which survives a kill and is deleted at the end.
        processes: shards counted at the same time; memory grows with it, and not with the corpus.
        progress: told after each shard how far it is.

    Raises:
        UserError: if a shard cannot be read, no text is left to count, or a process is killed.
    """
    setting = Setting(segmenter, float(held_out), -(-EXCERPT_TEXTS // len(shards)))
    parts = [scratch / _name(shard, setting) for shard in shards]
    # What an earlier run with other files or settings left.
    for stale in set(scratch.glob("*")) - {path for part in parts for path in _files(part)}:
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    scratch.mkdir(parents=True, exist_ok=True)
    missing = [
        (shard, part) for shard, part in zip(shards, parts) if not _files(part).words.exists()
    ]
    _run(missing, setting, processes, progress)
    _join([_files(part).counted for part in parts], outputs.counted)
    _join([_files(part).held_out for part in parts], outputs.held_out)
    if not outputs.counted.stat().st_size:
        raise UserError(f"{shards[0].path.parent} holds no text: there is nothing to count")
    merging = scratch / "merging"
    merging.mkdir()
    merge_words([_files(part).words for part in parts], outputs.words, merging)
    shutil.rmtree(scratch)


def _join(files: list[Path], out: Path) -> None:
    """Write files one after another into one."""
    with atomic_file(out) as file:
        for path in files:
            file.write(path.read_text(encoding="utf-8"))


def _name(shard: Shard, setting: Setting) -> str:
    """A name that changes with all that a shard's counts depend on."""
    about = shard.path.stat()
    key = repr((str(shard.path), about.st_size, about.st_mtime_ns, *shard[1:], *setting))
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _files(part: Path) -> Outputs:
    """Files of a counted shard."""
    return Outputs(
        *(part.with_suffix(suffix) for suffix in (".tsv", ".counted.jsonl", ".held_out.jsonl"))
    )


def _run(
    missing: list[tuple[Shard, Path]],
    setting: Setting,
    processes: int,
    progress: Callable[[str], None],
) -> None:
    """Count shards in processes of their own."""
    started = time.monotonic()
    words = 0
    # Forked: a script of Snakemake's has no main module that another process could import.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(max(1, processes), context, _end_with, (os.getpid(),)) as pool:
        waiting: set[Future[int]] = {
            pool.submit(_count_shard, shard, part, setting) for shard, part in missing
        }
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                words += sum(future.result() for future in done)
                left = len(waiting)
                seconds = time.monotonic() - started
                finished = len(missing) - left
                progress(
                    f"{finished}/{len(missing)} shards, {words / 1e6:.1f} M words, {words / seconds / 1e6:.1f} M/s, "
                    f"about {seconds / finished * left / 60:.0f} min left"
                )
        except BrokenProcessPool as error:
            raise UserError(
                "a counting process was killed, probably for want of memory: give the job fewer threads or more memory, and "
                "run again; shards that are counted stay so"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is killed.

    Nobody would collect what it counts.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _count_shard(shard: Shard, part: Path, setting: Setting) -> int:
    """Count one shard; its words are written last, and tell that all is there.

    Returns the number of words.
    """
    out = _files(part)
    step = setting.held_out and max(2, round(1 / setting.held_out))
    kept = 0

    with atomic_file(out.held_out) as held_out, atomic_file(out.counted) as counted:

        def texts() -> Iterator[str]:
            nonlocal kept
            for number, text in enumerate(iterate_texts(shard)):
                if step and number % step == 0:
                    held_out.write(text_line(text))
                    continue
                if kept < setting.excerpt:
                    counted.write(text_line(text))
                    kept += 1
                yield text

        words = count_words(texts(), setting.segmenter)
    write_sorted_words(words, out.words)
    return words.total()
