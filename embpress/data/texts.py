"""Corpora on disk between two rules: one JSON string a line, so that a text may hold line ends."""

import json
from pathlib import Path

from ..files import write_text


def text_line(text: str) -> str:
    """A text as it stands in a corpus's file."""
    return json.dumps(text, ensure_ascii=False) + "\n"


def write_texts(texts: list[str], path: Path) -> None:
    """Write a corpus."""
    write_text(path, "".join(map(text_line, texts)))


def read_texts(path: Path) -> list[str]:
    """Read a corpus that `write_texts` wrote."""
    # Only \n ends a line: JSON strings may hold U+2028, which str.splitlines() takes for a line
    # end.
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
