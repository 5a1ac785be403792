"""Without network: the tests write the hub client's cache in its own layout.

A local server answers as the hub does.
"""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import huggingface_hub
import pytest
import torch

from embpress.data.hub_files import copy_corpus, copy_model
from embpress.data.models import prepare_checkpoint
from embpress.errors import UserError
from embpress.models.checkpoints import embedding_matrix
from embpress.study.model_entry import HubFiles, HubModel
from tests.studies import model_entry
from tests.zoo import tiny

REVISION = "0123456789abcdef0123456789abcdef01234567"
HUB = {"model": "owner/tiny", "revision": REVISION}


def laid_out(cache, repository, files):
    """A revision in the cache: blobs by their names, links from the snapshot to them."""
    snapshot = cache / repository / "snapshots" / REVISION
    blobs = cache / repository / "blobs"
    blobs.mkdir(parents=True)
    for number, (name, content) in enumerate(files.items()):
        (blobs / str(number)).write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blobs / str(number))
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


def files_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def model_files(tmp_path, wordpiece):
    tiny("bert_mlm").save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    return files_of(tmp_path / "model")


def test_a_model_comes_without_pickles_code_and_other_forms(cache, tmp_path, model_files):
    foreign = {
        "pytorch_model.bin": b"pickle",
        "modeling_tiny.py": b"raise SystemExit",
        "onnx/config.json": b"{}",
    }
    laid_out(cache, "models--owner--tiny", model_files | foreign)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    copy_model(HubModel(**HUB), tmp_path / "out")
    assert files_of(tmp_path / "out") == model_files
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())


def test_a_model_of_the_hub_becomes_a_checkpoint(cache, tmp_path, model_files):
    laid_out(cache, "models--owner--tiny", model_files)
    copy_model(HubModel(**HUB), tmp_path / "files")
    prepare_checkpoint(model_entry(hub=HUB), {}, [], tmp_path / "checkpoint", tmp_path / "files")
    saved = files_of(tmp_path / "checkpoint")
    assert {"config.json", "model.safetensors", "tokenizer.json", "checkpoint.json"} <= saved.keys()
    assert b'"revision": "' + REVISION.encode() in saved["checkpoint.json"]
    assert torch.equal(
        embedding_matrix(tmp_path / "checkpoint"), tiny("bert_mlm").get_input_embeddings().weight
    )


def test_a_model_with_pickled_weights_alone_is_refused(cache, tmp_path, model_files):
    del model_files["model.safetensors"]
    laid_out(cache, "models--owner--tiny", model_files | {"pytorch_model.bin": b"pickle"})
    with pytest.raises(
        UserError,
        match="owner/tiny at revision 0123.* no weights in safetensors",
    ):
        copy_model(HubModel(**HUB), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_network_and_cache_the_network_is_named(cache, tmp_path):
    with pytest.raises(
        UserError,
        match="owner/tiny at revision 0123.*cache .*the network",
    ):
        copy_model(HubModel(**HUB), tmp_path / "out")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            "RevisionNotFound",
            "no such revision: copy the commit",
        ),
        ("RepoNotFound", "no public repository of this name: check"),
        ("GatedRepo", "request access"),
    ],
)
def test_what_the_hub_answers_is_told(cache, tmp_path, monkeypatch, code, message):
    class Hub(BaseHTTPRequestHandler):
        """Answers everything with one error, as the hub does."""

        def do_GET(self):
            self.send_response(403 if code == "GatedRepo" else 404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}"
    )
    try:
        with pytest.raises(UserError, match=message):
            copy_model(HubModel(**HUB), tmp_path / "out")
    finally:
        server.shutdown()


def test_a_corpus_is_the_files_of_a_pattern(cache, tmp_path):
    files = {
        "en/1.parquet": b"1",
        "en/2.parquet": b"2",
        "ja/1.parquet": b"3",
        "wikipedia.py": b"raise SystemExit",
    }
    laid_out(cache, "datasets--owner--wikipedia", files)
    hub = {"dataset": "owner/wikipedia", "revision": REVISION, "files": "en/*.parquet"}
    copy_corpus(HubFiles(**hub), tmp_path / "out")
    assert files_of(tmp_path / "out") == {"en/1.parquet": b"1", "en/2.parquet": b"2"}
    with pytest.raises(
        UserError, match="owner/wikipedia at revision 01234567 has no files 'de/\\*': check `files`"
    ):
        copy_corpus(HubFiles(**hub | {"files": "de/*"}), tmp_path / "out2")
