"""Single files by pinned URL and sha256."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from ..errors import UserError
from ..files import scratch_directory
from .packages import verify

SECONDS_WITHOUT_AN_ANSWER = 60


def fetch(url: str, sha256: str, out: Path) -> None:
    """Download a file to `out`, whole and checked, or not at all.

    Args:
        url: an https address, or file:// for a copy on this machine.
        sha256: what the file's bytes must hash to.
        out: where it goes.

    Raises:
        UserError: if it cannot be had, or is not the pinned file.
    """
    if not url.startswith(("https://", "file://")):
        raise UserError(f"{url} is not downloaded: only https:// and file:// are")
    with scratch_directory(out) as folder:
        partial = folder / "partial"
        try:
            with (
                urllib.request.urlopen(url, timeout=SECONDS_WITHOUT_AN_ANSWER) as source,
                partial.open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy, 1 << 20)
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise UserError(
                f"{url} could not be downloaded ({reason}): check the network, then run again"
            ) from error
        verify(partial, sha256, url)
        partial.replace(out)
