"""Artefacts of earlier versions stay readable.

Each folder of `golden` was written by the code of its version and holds what it decoded to.
Factors are multiples of powers of two, so that products are exact in whatever order they are
summed.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from embpress import formats, storage

GOLDEN = Path(__file__).parent / "golden"
INEXACT = (
    "entropy_coded",
    "entropy_coded_2",
    "entropy_coded_3",
    "entropy_coded_integers",
    "mlp_decoder",
    "rotated_lattice",
    "rotated_levels",
    "rotated_trellis",
)
"""Decoded with square roots, tanh, norms, or levels that are no multiples of powers of two.

The last bit differs between machines.
"""


@pytest.mark.parametrize("folder", sorted(p.name for p in GOLDEN.iterdir()))
def test_a_golden_folder_loads_and_decodes_to_the_stored_rows(folder):
    matrix = storage.load(GOLDEN / folder)
    stored = load_file(GOLDEN / folder / storage.TENSORS)
    assert stored.keys() == matrix.state_dict().keys()
    assert all(torch.equal(stored[name], value) for name, value in matrix.state_dict().items())
    wanted = load_file(GOLDEN / folder / "decoded.safetensors")["rows"]
    if folder in INEXACT:
        torch.testing.assert_close(matrix.dense(), wanted, rtol=1e-6, atol=1e-6)
    else:
        assert torch.equal(matrix.dense(), wanted)


def test_a_golden_folder_saves_to_the_same_bytes(tmp_path):
    for folder in GOLDEN.iterdir():
        storage.save(storage.load(folder), tmp_path / folder.name)
        written = (tmp_path / folder.name / storage.TENSORS).read_bytes()
        assert written == (folder / storage.TENSORS).read_bytes(), folder.name


def test_names_of_formats_leave_out_helpers():
    files = {path.stem for path in Path(formats.__file__).parent.glob("*.py")}
    assert set(formats.names()) == {name for name in files if not name.startswith("_")}
    assert {"_base", "_factors", "_gathering"} < files and "low_rank" in formats.names()
    for name in formats.names():
        assert formats.format_class(name).format == name


def test_every_format_has_a_golden_folder():
    golden = {storage.read_json(p / storage.HEADER)["format"] for p in GOLDEN.iterdir()}
    assert golden == set(formats.names())
