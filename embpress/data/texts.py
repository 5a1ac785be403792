"""Corpus files: one JSON string per line, so that a text may contain line ends."""

import json
from pathlib import Path

from ..files import write_text


def text_line(text: str) -> str:
    """The line of a text in a corpus file."""
    return json.dumps(text, ensure_ascii=False) + "\n"


def write_texts(texts: list[str], path: Path) -> None:
    """Write a corpus file."""
    write_text(path, "".join(map(text_line, texts)))


def read_texts(path: Path) -> list[str]:
    """Read a corpus file that `write_texts` wrote."""
    # str.splitlines() would also split at U+2028, which JSON strings may contain.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
