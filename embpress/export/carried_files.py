"""Files of a model folder that an exported model keeps: tokenizer, processors, licences, notes."""

from pathlib import Path

from .sentence_modules import MODULES

WEIGHT_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".hdf5", ".keras", ".msgpack", ".ot"),
    *(".onnx", ".onnx_data", ".gguf", ".ggml", ".tflite", ".mlmodel", ".npy", ".npz"),
    *(".pkl", ".pickle", ".joblib", ".index"),
)
CODE_SUFFIXES = (".py", ".pyc", ".so", ".dll", ".sh", ".exe")
WRITTEN_FILES = {"config.json", "generation_config.json", MODULES}
"""Files that are written anew."""
BINARY_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK", b"\x7fELF", b"GGUF")
"""First bytes of pickles (protocols 2 to 5), zip archives such as torch's, programs and GGUF."""


def find_carried_files(folder: Path) -> list[Path]:
    """Files in a model folder that are neither weights nor code nor pickles.

    A list of names would miss those of tokenizers with names of their own, such as Marian's
    `source.spm` or LUKE's `entity_vocab.json`.
    """
    return sorted(path for path in folder.iterdir() if path.is_file() and _is_carried(path))


def _is_carried(path: Path) -> bool:
    """Whether a file is carried over, by its name and its first bytes."""
    suffix = path.suffix.lower()
    if path.name.startswith(".") or path.name in WRITTEN_FILES or suffix in WEIGHT_SUFFIXES:
        return False
    if suffix in CODE_SUFFIXES or path.name.endswith(".index.json"):
        return False
    with path.open("rb") as file:
        return not file.read(4).startswith(BINARY_STARTS)
