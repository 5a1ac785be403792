"""Where a model to compress is: a folder, or a model of the hub by its id."""

import re
from pathlib import Path

from ..data.hub_files import MODEL_FILES, download_snapshot
from ..errors import UserError

HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?")
TEXT_FILES = ["*.spm", "*.tokenizer", "*.codes", "*.vocab", "*.jinja", "LICENSE*", "README.md"]
"""Files of tokenizers beside MODEL_FILES, and the licence."""
OTHER_FORMATS = ["onnx/*", "openvino/*", "original/*", "coreml/*", "*training_args*"]
DEFAULT_REVISION = "main"


def locate_model(model: str | Path) -> Path:
    """The folder of a model.

    A model of the hub is read from the hub client's cache, and downloaded to it if it is not there.
    Only safetensors weights and text files are downloaded, never code or pickles.

    Args:
        model: a folder, or `owner/name` or `owner/name@revision` of the hub; a revision is a
            commit, branch or tag.

    Raises:
        UserError: if there is neither such a folder nor such a model.
    """
    if model == "":
        raise UserError("the name of the model is empty: name a folder, or a model of the hub")
    folder = Path(model)
    if folder.is_dir():
        return folder
    match = HUB_ID.fullmatch(str(model))
    if match is None or folder.exists():
        raise UserError(
            f"{model} is neither a folder nor an id of the Hugging Face hub: name a folder in "
            "transformers' layout, owner/name or owner/name@revision"
        )
    revision = match["revision"] or DEFAULT_REVISION
    return download_snapshot(
        "model", match["name"], revision, [*MODEL_FILES, *TEXT_FILES], OTHER_FORMATS
    )
