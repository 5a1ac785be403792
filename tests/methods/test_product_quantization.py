import subprocess
import sys

import faiss
import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from embpress import storage
from embpress.errors import InfeasibleRatio, UserError
from embpress.fidelity.reconstruction import reconstruction
from embpress.formats.product_codes import ProductCodes
from embpress.methods import compress
from embpress.methods._base import Context, Plan
from embpress.methods.product_quantization import ProductQuantization

from .samples import context_of, matrix_of


def error_of(compressed, matrix):
    return float((compressed.dense() - matrix).norm() / matrix.norm())


def ratio_of(shape, subspaces, width, floats=0, half=False):
    """The ratio at which this many subspaces are used."""
    floats = (2**width * shape[1] + floats) * (0.5 if half else 1)
    bits = 32 * floats + 8 * shape[0] * -(-subspaces * width // 8)
    return (1 - 1e-12) * 32 * shape[0] * shape[1] / bits


def of_faiss(d, subspaces, width, codebook):
    """faiss's own quantizer with these centroids."""
    quantizer = faiss.ProductQuantizer(d, subspaces, width)
    faiss.copy_array_to_vector(codebook.float().numpy().ravel(), quantizer.centroids)
    return quantizer


@pytest.mark.parametrize("width", [8, 7, 6, 5, 4])
@pytest.mark.parametrize("subspaces", [8, 16])
def test_codes_decode_as_faiss_decodes_them(width, subspaces):
    matrix = matrix_of(2000, 48)
    compressed = compress(matrix, "pq", ratio_of((2000, 48), subspaces, width), bits=width)
    assert compressed.subspaces == subspaces
    quantizer = of_faiss(48, compressed.subspaces, width, compressed.codebook)
    # Both pack a row's codes as one little-endian stream in whole bytes.
    np.testing.assert_array_equal(
        quantizer.decode(compressed.codes.numpy()), compressed.dense().numpy()
    )
    # faiss finds no nearer codes.
    wanted = quantizer.decode(quantizer.compute_codes(matrix.numpy()))
    assert np.isclose(
        error_of(compressed, matrix),
        float(np.linalg.norm(wanted - matrix.numpy()) / matrix.norm()),
        rtol=1e-4,
    )


@pytest.mark.parametrize("width", [8, 6, 4])
def test_as_good_as_trained_by_faiss_alone(width):
    matrix = matrix_of(3000, 48)
    compressed = compress(matrix, "pq", ratio_of((3000, 48), 12, width), bits=width)
    quantizer = faiss.ProductQuantizer(48, compressed.subspaces, width)
    quantizer.cp.min_points_per_centroid = 1
    quantizer.train(matrix.numpy())
    wanted = torch.from_numpy(quantizer.decode(quantizer.compute_codes(matrix.numpy())))
    assert error_of(compressed, matrix) < 1.005 * float((wanted - matrix).norm() / matrix.norm())


def test_each_piece_takes_its_nearest_centroid_as_stored():
    matrix = matrix_of(500, 24)
    ratio = ratio_of((500, 24), 8, 4, half=True)
    compressed = compress(matrix, "pq", ratio, bits=4, factor_dtype="float16")
    assert compressed.codebook.dtype == torch.float16 and 24 % compressed.subspaces == 0
    pieces = matrix.view(500, compressed.subspaces, -1).double()
    decoded = compressed.dense().view(pieces.shape).double()
    for j, centroids in enumerate(
        compressed.codebook.view(compressed.subspaces, 1 << compressed.width, -1).double()
    ):
        nearest = cdist(pieces[:, j].numpy(), centroids.numpy()).min(1)
        np.testing.assert_allclose(
            (decoded[:, j] - pieces[:, j]).norm(dim=1).numpy(), nearest, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize(
    "shape", [(5000, 384), (30522, 384), (600, 48), (700, 37), (40, 30), (1000, 96)]
)
@pytest.mark.parametrize("rotation", ["none", "opq"])
def test_no_other_sizes_have_much_less_expected_error(shape, rotation):
    rows, d = shape
    floats = d * d if rotation == "opq" else 0
    for ratio in (1.5, 4, 10, 25):
        errors = {}
        for width in (4, 5, 6, 7, 8):
            for m in range(1, d + 1):
                fits = ratio_of(shape, m, width, floats) >= ratio and 2**width <= rows
                if fits and (rotation == "none" or d % m == 0):
                    columns = np.bincount(np.arange(d) * m // d)
                    errors[width, m] = (columns * 4.0 ** (-width / columns)).sum()
        if not errors:
            with pytest.raises(InfeasibleRatio, match="product quantisation reaches at most"):
                ProductQuantization(rotation=rotation).plan(shape, ratio)
            continue
        sizes = ProductQuantization(rotation=rotation).plan(shape, ratio).sizes
        chosen = errors[sizes["width"], sizes["subspaces"]]
        assert chosen <= 1.0201 * min(errors.values())
        for width in range(sizes["width"] + 1, 9):
            wider = [error for (w, _), error in errors.items() if w == width]
            assert not wider or min(wider) > 1.0199 * min(errors.values())


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize(("d", "subspaces"), [(48, 20), (31, 4), (31, 30)])
def test_subspaces_of_two_sizes_take_their_nearest_centroids(d, subspaces, dtype):
    matrix = matrix_of(700, d)
    shape = (700, d)
    plan = Plan(shape, 1, 0, {"subspaces": subspaces, "width": 5})
    compressed = ProductQuantization(factor_dtype=dtype).fit(matrix, plan, Context())
    compressed.prepare()
    n_long = d % subspaces
    lengths = [d // subspaces + (j < n_long) for j in range(subspaces)]
    codes = np.unpackbits(compressed.codes.numpy(), axis=1, bitorder="little")[:, : 5 * subspaces]
    codes = (codes.reshape(700, subspaces, 5) << np.arange(5)).sum(2)
    long = compressed.factor("codebook").view(n_long, 32, -1)
    short = compressed.factor("codebook_short").view(subspaces - n_long, 32, -1)
    decoded = compressed.dense().split(lengths, dim=1)
    for j, (piece, found) in enumerate(zip(matrix.split(lengths, dim=1), decoded)):
        centroids = (long[j] if j < n_long else short[j - n_long]).detach()
        assert torch.equal(found, centroids[codes[:, j]])
        nearest = cdist(piece.double().numpy(), centroids.double().numpy()).min(1)
        np.testing.assert_allclose((found - piece).norm(dim=1), nearest, rtol=1e-3, atol=1e-5)
    bits = ProductQuantization(factor_dtype=dtype)._bits(shape, subspaces, 5)
    assert compressed.stored_bits == bits


def test_too_few_rows_for_any_codebook_are_refused():
    with pytest.raises(InfeasibleRatio, match="at least 16 rows.* 10"):
        compress(torch.randn(10, 16), "pq", 2)


def test_fewer_rows_than_centroids_are_refused():
    with pytest.raises(InfeasibleRatio, match="at least 256 rows.* 200"):
        ProductQuantization(bits=8).plan((200, 48), 1.5)
    assert compress(matrix_of(16, 48), "pq", 1, bits=4, factor_dtype="float16").dense().shape == (
        16,
        48,
    )


def test_one_column_is_one_subspace():
    matrix = torch.randn(700, 1, generator=torch.Generator().manual_seed(0))
    compressed = compress(matrix, "pq", 3)
    assert compressed.subspaces == 1 and error_of(compressed, matrix) < 0.2


def test_opq_rotates_and_helps_where_columns_correlate():
    mixing = torch.randn(32, 32, generator=torch.Generator().manual_seed(1))
    sizes = torch.logspace(0, -1.5, 32)
    matrix = (
        torch.randn(4000, 32, generator=torch.Generator().manual_seed(2)) * sizes
    ) @ torch.linalg.qr(mixing)[0]
    plain, rotated = (
        compress(matrix, "pq", ratio, rotation=rotation, bits=6)
        for rotation, ratio in (
            ("none", ratio_of((4000, 32), 8, 6)),
            ("opq", ratio_of((4000, 32), 8, 6, 32 * 32)),
        )
    )
    assert rotated.subspaces == plain.subspaces == 8
    assert error_of(rotated, matrix) < 0.9 * error_of(plain, matrix)
    identity = rotated.rotation @ rotated.rotation.T
    torch.testing.assert_close(identity, torch.eye(32), atol=1e-4, rtol=0)
    assert rotated.stored_bits - plain.stored_bits == 32 * 32 * 32
    unrotated = of_faiss(32, rotated.subspaces, 6, rotated.codebook).decode(rotated.codes.numpy())
    torch.testing.assert_close(
        rotated.dense(), torch.from_numpy(unrotated) @ rotated.rotation, atol=1e-5, rtol=1e-5
    )


def test_weighted_by_counts_favours_frequent_rows():
    matrix = matrix_of(2000, 48)
    context = context_of(2000)
    plain, weighted = (
        reconstruction(matrix, compress(matrix, "pq", 12, context, weighting=w), context.counts)
        for w in ("uniform", "counts")
    )
    assert weighted.weighted_relative_error < 0.85 * plain.weighted_relative_error
    assert plain.relative_error < weighted.relative_error
    with pytest.raises(UserError, match="rotation: opq.*weight"):
        compress(matrix, "pq", 2, context, weighting="counts", rotation="opq")


def test_one_row_with_all_the_weight_does_not_hang():
    context = context_of(600)
    context.counts[:] = 0
    context.counts[3] = 10**9
    matrix = matrix_of(30, 48).repeat(20, 1)
    compressed = compress(matrix, "pq", 3, context, weighting="counts")
    torch.testing.assert_close(compressed.dense()[3], matrix[3], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rotation", ["none", "opq"])
def test_threads_change_no_bit_but_seeds_do(rotation):
    matrix = matrix_of(1500, 24)
    before = torch.get_num_threads()
    found = []
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            found.append(compress(matrix, "pq", 6, rotation=rotation).state_dict())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0][k], found[1][k]) for k in found[0])
    other = compress(matrix, "pq", 6, context_of(1500, seed=1), rotation=rotation)
    assert not torch.equal(other.codes, found[0]["codes"])


def test_faiss_keeps_its_threads_and_says_nothing(capfd):
    before = faiss.omp_get_max_threads()
    compress(torch.zeros(300, 16), "pq", 2, bits=8, factor_dtype="float16")
    compress(matrix_of(20, 16).repeat(15, 1), "pq", 2)
    compress(matrix_of(300, 16), "pq", 2, rotation="opq")
    assert faiss.omp_get_max_threads() == before
    assert capfd.readouterr() == ("", "")


def test_artefact_loads_without_faiss(tmp_path):
    storage.save(compress(matrix_of(600, 48), "pq", 4), tmp_path)
    code = (
        "import sys; sys.modules['faiss'] = None\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from embpress import methods, storage\n"
        "assert storage.load(Path(sys.argv[1])).rows(torch.tensor([1, 5])).shape == (2, 48)\n"
        "assert methods.method_class('pq')().plan((600, 48), 4)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 8])
def test_short_centroids_are_gathered_right(columns):
    generator = torch.Generator().manual_seed(0)
    compressed = ProductCodes((50, 6 * columns), 6, 8)
    compressed.codebook.copy_(torch.randn(compressed.codebook.shape, generator=generator))
    compressed.codes.copy_(torch.randint(256, (50, 6), generator=generator))
    compressed.prepare()
    codebook = compressed.codebook.view(6, 256, columns)
    wanted = [torch.cat([codebook[j, int(row[j])] for j in range(6)]) for row in compressed.codes]
    assert torch.equal(compressed.dense(), torch.stack(wanted))
