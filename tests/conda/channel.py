"""A conda channel on disk that offers exactly the versions of this Python's environment, so that
pins are solved offline.

Every distribution becomes a package under conda-forge's name, with the version and the dependencies
of its metadata. Its files are links into this environment: what an environment file forgets to list
is not importable there. The interpreter is a copy whose standard library is linked. The builds are
PyPI's, not conda-forge's: docs/operations/conda.md says what that leaves open.
"""

import hashlib
import io
import json
import re
import sys
import tarfile
from collections import Counter
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/{PYTHON}/site-packages"
SUBDIR = "linux-64"
CONDA_NAME = {"torch": "pytorch", "matplotlib": "matplotlib-base"}

# What a package holds: path in the prefix to the bytes of a file, or to what a link points at.
Content = dict[str, bytes | Path]


def conda_name(name: str) -> str:
    """conda-forge's name of a distribution."""
    name = re.sub(r"[-_.]+", "-", name).lower()
    return CONDA_NAME.get(name, name)


def write_package(
    channel: Path, name: str, version: str, depends: list[str], content: Content
) -> tuple[str, dict]:
    """Write one archive; returns its file's name and its entry of repodata.json."""
    record = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": SUBDIR,
    }
    paths = []
    for path, source in sorted(content.items()):
        data = b"" if isinstance(source, Path) else source
        kind = "softlink" if isinstance(source, Path) else "hardlink"
        sha256 = hashlib.sha256(data).hexdigest()
        paths.append(
            {"_path": path, "path_type": kind, "sha256": sha256, "size_in_bytes": len(data)}
        )
    info = {
        "info/index.json": json.dumps(record).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{path}\n" for path in sorted(content)).encode(),
    }
    archive = channel / SUBDIR / f"{name}-{version}-0.tar.bz2"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:bz2", compresslevel=1) as tar:
        for path, source in {**info, **content}.items():
            member = tarfile.TarInfo(path)
            member.mode = 0o755 if path.startswith("bin/") else 0o644
            if isinstance(source, Path):
                member.type = tarfile.SYMTYPE
                member.linkname = str(source)
                tar.addfile(member)
            else:
                member.size = len(source)
                tar.addfile(member, io.BytesIO(source))
    data = archive.read_bytes()
    return archive.name, {**record, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def interpreter() -> Content:
    """A copy of this interpreter, with links to its standard library and an empty site-packages."""
    content: Content = {
        f"bin/{PYTHON}": Path(sys.base_prefix, "bin", PYTHON).read_bytes(),
        "bin/python": Path(PYTHON),
        "bin/python3": Path(PYTHON),
        f"{SITE}/README.txt": b"site-packages\n",
    }
    for entry in Path(sys.base_prefix, "lib", PYTHON).iterdir():
        if entry.name not in (
            "site-packages",
            "dist-packages",
            "__pycache__",
            "EXTERNALLY-MANAGED",
        ):
            content[f"lib/{PYTHON}/{entry.name}"] = entry
    content[f"lib/{PYTHON}/dist-packages"] = Path(
        "site-packages"
    )  # as Debian's interpreter calls it
    return content


def top_level(distribution: Distribution) -> set[str]:
    """First parts of the paths that a distribution has in site-packages, its metadata left out."""
    parts = {file.parts[0] for file in distribution.files or [] if not file.is_absolute()}
    return {
        part
        for part in parts
        if part not in ("..", "__pycache__") and not part.endswith((".dist-info", ".pth"))
    }


def importable(distribution: Distribution, shared: set[str]) -> Content:
    """Links to a distribution's files, and its metadata without RECORD.

    Pip sees it, but can not remove what is linked.
    """
    site = Path(str(distribution.locate_file("")))
    content: Content = {f"{SITE}/{part}": site / part for part in top_level(distribution) - shared}
    for file in distribution.files or []:
        if (
            file.parts[0] in shared and file.suffix != ".pyc"
        ):  # a folder of several distributions: file by file
            content[f"{SITE}/{file.as_posix()}"] = site / file
    name = re.sub(r"[-.]+", "_", distribution.metadata["Name"])
    metadata = f"{SITE}/{name}-{distribution.version}.dist-info"
    content[f"{metadata}/METADATA"] = (distribution.read_text("METADATA") or "").encode()
    content[f"{metadata}/INSTALLER"] = b"conda\n"
    return content


def write_channel(channel: Path) -> None:
    """Write the channel, and an empty one named nodefaults beside it."""
    found = list(distributions(path=[path for path in sys.path if path.endswith("site-packages")]))
    available = {conda_name(d.metadata["Name"]) for d in found}
    shared = {
        part for part, n in Counter(part for d in found for part in top_level(d)).items() if n > 1
    }
    version = ".".join(map(str, sys.version_info[:3]))
    packages = dict([write_package(channel, "python", version, [], interpreter())])
    for distribution in found:
        requirements = [Requirement(line) for line in distribution.requires or []]
        wanted = {
            conda_name(r.name)
            for r in requirements
            if r.marker is None or r.marker.evaluate({"extra": ""})
        }
        depends = ["python", *sorted(wanted & available)]
        name = conda_name(distribution.metadata["Name"])
        version = distribution.version.partition("+")[0]
        file, record = write_package(
            channel, name, version, depends, importable(distribution, shared)
        )
        packages[file] = record
    for folder, content in ((channel, packages), (channel.with_name("nodefaults"), {})):
        for subdir in (SUBDIR, "noarch"):
            (folder / subdir).mkdir(parents=True, exist_ok=True)
            repodata = {
                "info": {"subdir": subdir},
                "packages": content if subdir == SUBDIR else {},
                "packages.conda": {},
                "repodata_version": 1,
            }
            (folder / subdir / "repodata.json").write_text(json.dumps(repodata))
