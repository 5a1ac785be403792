"""A sample of the kind: data in a folder, the entry over it, and outcomes without a mistake."""

import gettext
import io
import struct
import zipfile

import numpy as np

TEXTS = ["the cat", "a dog", "abc cab", "the dogs", "a cab", "the cats"]


def catalogue(messages):
    """A compiled catalogue of gettext, by its format's description."""
    pairs = sorted((k.encode(), v.encode()) for k, v in messages.items())
    table = 28 + 16 * len(pairs)
    keys, values, blob = [], [], b""
    for texts, places in zip(zip(*pairs), (keys, values)):
        for text in texts:
            places += [len(text), table + len(blob)]
            blob += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    content = head + struct.pack(f"<{4 * len(pairs)}I", *keys, *values) + blob
    gettext.GNUTranslations(io.BytesIO(content))  # reads it
    return content


def write(folder):
    messages = {"": "Content-Type: text/plain; charset=UTF-8\n"}
    messages |= {text: f"{text} の猫" for text in TEXTS}
    with zipfile.ZipFile(folder / "translations.whl", "w") as wheel:
        wheel.writestr("x/locale/ja/LC_MESSAGES/x.mo", catalogue(messages))
    data = {"packages": ["translations"], "language": "ja", "min_words": 2}
    entry = {"protocol": "zero_shot", "data": data, "prefix": "", "pairs": 5}
    return entry, {"translations": folder / "translations.whl"}


def perfect(outcomes):
    return {name: np.ones_like(values) for name, values in outcomes.items()}
