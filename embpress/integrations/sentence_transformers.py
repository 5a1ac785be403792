"""Exported models in sentence-transformers.

    model = load_sentence_transformer("DIR-small")
    model.encode(["a sentence"])

Needs the extra `sentence-transformers`. sentence-transformers 6 imports module classes of other
packages than its own only with `SentenceTransformer("DIR-small", trust_remote_code=True)`, and
otherwise raises a ValueError. The class is this package's, and no code of the folder is run either
way; `load_sentence_transformer` needs no such option.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Transformer
from sentence_transformers.util import import_module_class
from transformers import PreTrainedModel

from ..errors import UserError
from ..export.exported_model import load
from ..export.manifest import MANIFEST
from ..export.sentence_modules import MODULE_CLASS, PROMPTS, read_modules
from ..files import read_json


class CompressedTransformer(Transformer):
    """A Transformer module whose model runs on a compressed embedding matrix.

    A model with a head, such as a language model, runs without the head, which is kept and saved.
    """

    def _load_model(
        self, model_name_or_path: str, *args: object, **kwargs: object
    ) -> PreTrainedModel:
        """Load the exported model in place of dense weights."""
        if not (Path(model_name_or_path) / MANIFEST).is_file():
            raise UserError(
                f"{model_name_or_path} is not a local folder of a compressed model: download it "
                "first, and name the folder"
            )
        # Not an attribute of nn.Module, which would register the weights a second time.
        self.__dict__["exported"] = load(model_name_or_path)
        return self.__dict__["exported"].base_model

    def save(self, output_path: str, *args: object, **kwargs: object) -> None:
        """Write the exported model, the tokenizer and the settings of this module."""
        self.__dict__["exported"].save_pretrained(output_path)
        self.processor.save_pretrained(output_path)
        self.save_config(output_path)


def load_sentence_transformer(folder: str | Path, **options: Any) -> SentenceTransformer:
    """Load an exported model with its pooling, normalization, prompts and maximal length.

    Args:
        folder: a folder that `compress_model` made from a sentence-transformers model.
        options: further arguments of SentenceTransformer, such as `device` or `truncate_dim`; they
            take precedence over the folder's.

    Raises:
        UserError: if the folder contains no such model.

    Example:
        >>> from embpress.integrations.sentence_transformers import load_sentence_transformer
        >>> model = load_sentence_transformer("DIR-small")  # doctest: +SKIP
        >>> model.encode(["the cat"]).shape  # doctest: +SKIP
        (1, 384)
    """
    folder = Path(folder)
    entries = read_modules(folder)
    if not entries:
        raise UserError(
            f"{folder} contains no modules.json: compress a sentence-transformers folder, or add a "
            "pooling module to CompressedTransformer.load(...) yourself"
        )
    modules: Any = OrderedDict()
    for entry in entries:
        is_compressed = entry["type"] == MODULE_CLASS
        module_class: Any = (
            CompressedTransformer if is_compressed else import_module_class(entry["type"])
        )
        modules[entry["name"]] = module_class.load(
            str(folder), subfolder=entry["path"], local_files_only=True
        )
    settings = read_json(folder / PROMPTS) if (folder / PROMPTS).is_file() else {}
    saved = {
        name: settings[name]
        for name in ("prompts", "default_prompt_name", "similarity_fn_name", "truncate_dim")
        if settings.get(name) is not None
    }
    model = SentenceTransformer(modules=modules, local_files_only=True, **saved | options)
    model.module_kwargs = {entry["name"]: entry.get("kwargs", []) for entry in entries}
    return model
