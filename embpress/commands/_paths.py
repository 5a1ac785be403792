"""Files and folders in the words of a command."""

import argparse
from pathlib import Path


def named(text: str) -> str:
    """A name that is not empty.

    An empty one, such as of a shell variable that is not set, would mean the working folder.

    Raises:
        ArgumentTypeError: if it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("the name is empty: name a file or folder")
    return text


def path(text: str) -> Path:
    """The path of a file or folder, which must be named."""
    return Path(named(text))
