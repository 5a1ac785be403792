"""Download single files by a pinned URL and SHA-256."""

import shutil
import urllib.error
import urllib.request
from pathlib import Path

from ..errors import UserError
from ..files import scratch_directory
from .packages import verify

TIMEOUT_SECONDS = 60


def fetch(url: str, sha256: str, out: Path) -> None:
    """Download a file to `out`, completely or not at all, and check its SHA-256.

    Args:
        url: an https address, or file:// for a copy on this machine.
        sha256: pinned hexadecimal SHA-256 of the file.
        out: path of the file to write.

    Raises:
        UserError: if it cannot be downloaded, or is not the pinned file.
    """
    if not url.startswith(("https://", "file://")):
        raise UserError(f"{url} cannot be downloaded: use an https:// or file:// address")
    with scratch_directory(out) as folder:
        partial = folder / "partial"
        try:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as source,
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
