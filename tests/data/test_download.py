import hashlib
import urllib.error

import pytest

from embpress.data import download
from embpress.errors import UserError

CONTENT = '{"sentence": "猫", "label": 1}\n'.encode()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_the_pinned_file_arrives_whole(tmp_path):
    (tmp_path / "there.json").write_bytes(CONTENT)
    download.fetch((tmp_path / "there.json").as_uri(), SHA256, tmp_path / "out" / SHA256)
    assert (tmp_path / "out" / SHA256).read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "out").iterdir()] == [SHA256]


def test_another_file_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "there.json").write_bytes(CONTENT[:-1])
    url = (tmp_path / "there.json").as_uri()
    with pytest.raises(UserError, match=f"{url} has sha256 .*, but {SHA256} is pinned"):
        download.fetch(url, SHA256, tmp_path / "out" / SHA256)
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_file_and_other_schemes_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="missing.json could not be downloaded .*check the network"):
        download.fetch((tmp_path / "missing.json").as_uri(), SHA256, tmp_path / "out")
    with pytest.raises(UserError, match="ftp://x/y.*https"):
        download.fetch("ftp://x/y", SHA256, tmp_path / "out")

    def refused(url, timeout):
        raise urllib.error.HTTPError(url, 404, "Not Found", None, None)

    monkeypatch.setattr(download.urllib.request, "urlopen", refused)
    with pytest.raises(UserError, match=r"https://x/y could not be downloaded \(Not Found\)"):
        download.fetch("https://x/y", SHA256, tmp_path / "out")
