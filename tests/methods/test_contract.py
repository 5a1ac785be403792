"""What every method must do, whatever it is.

A new file in embpress/methods is tested here without another line.
"""

import math
import os

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

from embpress import storage
from embpress.errors import InfeasibleRatio, UserError
from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import TRIMMING, compress, draws, method_class, names
from embpress.methods._base import Context, budget_bits
from embpress.models.compressed_model import RowRange
from embpress.models.embedding import CompressedLinear
from embpress.numerics.matrices import safetensors_matrix

from .samples import CONTROLS, DTYPES, QUICK, RATIOS, context_of, feasible, fitted, matrix_of

SHAPES = [(600, 48), (500, 31), (1200, 64), (64, 96)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_plan_is_exact_and_within_the_budget(name, shape, ratio):
    if name in CONTROLS:
        pytest.skip("controls have no budget")
    try:
        plan, compressed = fitted(name, *shape, ratio)
    except InfeasibleRatio as error:
        assert "reaches" in str(error)
        return
    assert compressed.stored_bits == plan.bits <= budget_bits(shape, ratio)
    assert compressed.ratio >= ratio
    assert compressed.dense().shape == shape
    assert torch.isfinite(compressed.dense()).all()


def test_large_shapes_are_planned_without_a_matrix(name):
    if name in CONTROLS:
        return
    shape = (250_037, 384)
    ratio = feasible(name, *shape)
    assert method_class(name)().plan(shape, ratio).bits <= budget_bits(shape, ratio)


def test_rows_equal_dense_rows_in_any_order_and_repeated(name):
    _, compressed = fitted(name, 600, 48, feasible(name))
    ids = torch.tensor([599, 0, 3, 3, 300, 17])
    torch.testing.assert_close(compressed.rows(ids), compressed.dense()[ids], rtol=1e-5, atol=1e-6)
    assert compressed.rows(ids).dtype == torch.float32
    assert compressed.rows(torch.tensor([], dtype=torch.int64)).shape == (0, 48)


def test_product_equals_product_with_dense(name):
    _, compressed = fitted(name, 600, 48, feasible(name))
    x = torch.randn(2, 3, 48, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        compressed.product(x), x @ compressed.dense().T, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        compressed.product(x[0, 0]), compressed.dense() @ x[0, 0], rtol=1e-4, atol=1e-5
    )
    # A model is fine-tuned around a compressed head: gradients pass through it.
    leaf = x.clone().requires_grad_()
    compressed.product(leaf).sum().backward()
    torch.testing.assert_close(leaf.grad[0, 0], compressed.dense().sum(0), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_saved_and_loaded_is_the_same_and_as_large_as_reported(name, dtype, tmp_path):
    if dtype != "float32" and not method_class(name).has_factors:
        return
    _, compressed = fitted(name, 600, 48, feasible(name), factor_dtype=dtype)
    storage.save(compressed, tmp_path)
    loaded = storage.load(tmp_path)
    assert type(loaded) is type(compressed)
    assert torch.equal(loaded.dense(), compressed.dense())
    assert loaded.stored_bits == compressed.stored_bits
    file = tmp_path / storage.TENSORS
    header = 8 + int.from_bytes(file.read_bytes()[:8], "little")
    assert 8 * (os.path.getsize(file) - header) == compressed.stored_bits
    assert header < 2048


def test_same_seed_same_bits(name, tmp_path):
    for run in ("a", "b"):
        storage.save(fitted(name, 600, 48, feasible(name))[1], tmp_path / run)
    first, second = (load_file(tmp_path / run / storage.TENSORS) for run in ("a", "b"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_a_fit_depends_on_the_seed_only_if_the_method_reads_it(name, tmp_path):
    if draws(name):
        return
    for seed in (0, 1):
        compressed = fitted(name, 600, 48, feasible(name), seed)[1]
        storage.save(compressed, tmp_path / str(seed))
    first, second = (load_file(tmp_path / str(seed) / storage.TENSORS) for seed in (0, 1))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_methods_that_draw_are_known():
    drawing = {name for name in names() if draws(name)}
    assert drawing >= {"random_rows", "rotated_signs", "product_quantization"}
    assert not drawing & {"svd", "integer", "vocabulary_pruning"}
    assert not draws(TRIMMING)


def test_the_global_generator_is_left_alone(name):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    fitted(name, 600, 48, feasible(name))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_error_falls_as_the_budget_grows(name):
    if name in CONTROLS:
        return
    # White rows: on structured ones a Kronecker product of fewer floats may happen to fit better.
    matrix = torch.randn(600, 48, generator=torch.Generator().manual_seed(2))
    context = context_of(600)
    errors = []
    for ratio in (24, 12, 6, 3.9, 2.5, 2, 1.5, 1.2):
        try:
            errors.append(
                reconstruction(
                    matrix, compress(matrix, name, ratio, context), context.counts
                ).relative_error
            )
        except InfeasibleRatio:
            continue
    assert errors
    assert all(smaller <= 1.001 * larger for larger, smaller in zip(errors, errors[1:]))
    assert errors[-1] < 0.9


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_inf_are_named_with_their_row(name, bad):
    matrix = matrix_of(60, 16)
    matrix[7, 3] = bad
    with pytest.raises(UserError, match="NaN or Inf, first in row 7"):
        compress(matrix, name, 1.5, context_of(60))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_matrix_on_disk_gives_the_same_bits(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr("embpress.formats._base.ROW_BLOCK", 64)  # so that there are several blocks
    matrix = matrix_of(600, 48).to(dtype)
    save_file({"e": matrix}, tmp_path / "m.safetensors")
    on_disk = safetensors_matrix(tmp_path / "m.safetensors", "e")
    context = context_of(600)
    if method_class(name).supports_streaming:  # never the whole matrix at once
        monkeypatch.setattr(
            on_disk, "_read", lambda a, b, read=on_disk._read: read(a, b) if b - a < 600 else 1 / 0
        )
        monkeypatch.setattr("embpress.numerics.linalg.ROW_BLOCK", 64)
        monkeypatch.setattr("embpress.methods.entropy_coded_trellis.BLOCK", 64 * 48)
        monkeypatch.setattr("embpress.methods.vocabulary_pruning.ROW_BLOCK", 64)
        monkeypatch.setattr("embpress.formats._factors.ROW_BLOCK", 64)
    ratio = feasible(name)
    found = compress(on_disk, name, ratio, context)
    wanted = compress(matrix, name, ratio, context)
    assert found.state_dict().keys() == wanted.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(found.state_dict().values(), wanted.state_dict().values())
    )


def test_nan_on_disk_is_named_with_its_row(name, tmp_path):
    matrix = matrix_of(5000, 16)
    matrix[4200, 3] = float("nan")
    save_file({"e": matrix}, tmp_path / "m.safetensors")
    with pytest.raises(UserError, match="NaN or Inf, first in row 4200"):
        compress(safetensors_matrix(tmp_path / "m.safetensors", "e"), name, 1.5, context_of(5000))


@pytest.mark.parametrize("shape", [(0, 8), (8, 0), (1, 8), (8,), (2, 3, 4)])
def test_empty_one_row_and_other_ranks_are_refused(name, shape):
    with pytest.raises(UserError, match="matrix"):
        compress(torch.ones(shape), name, 1.5)


def test_ratio_below_one_is_refused(name):
    if name in CONTROLS:
        return
    for ratio in (0.5, 0, -3, float("nan")):
        with pytest.raises(UserError, match="below 1|nan"):
            compress(matrix_of(60, 16), name, ratio, context_of(60))


def test_impossible_ratio_says_what_is_reached(name):
    if name in CONTROLS:
        return
    with pytest.raises(InfeasibleRatio, match="reaches .* on 60 x 16: use a lower ratio"):
        compress(matrix_of(60, 16), name, 1e6, context_of(60))


def test_unknown_option_is_refused(name):
    with pytest.raises(UserError, match="no option 'rnak'; it has .*factor_dtype"):
        method_class(name)(rnak=3)
    with pytest.raises(UserError, match="factor_dtype is 'int3'"):
        method_class(name)(factor_dtype="int3")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_and_layouts_give_what_float32_gives(name, dtype):
    matrix = matrix_of(600, 48).to(dtype)
    strided = matrix.T.contiguous().T
    assert not strided.is_contiguous()
    ratio = feasible(name)
    wanted = compress(matrix.float(), name, ratio, context_of(600))
    assert torch.equal(compress(strided, name, ratio, context_of(600)).dense(), wanted.dense())


@pytest.mark.parametrize("cast", ["half", "bfloat16", "double", "float"])
def test_rows_and_bits_stay_when_a_model_around_is_cast(name, cast):
    _, compressed = fitted(name, 600, 48, feasible(name))
    wanted = compressed.dense()
    bits = compressed.stored_bits
    getattr(compressed, cast)()
    assert compressed.stored_bits == bits
    assert torch.equal(compressed.dense(), wanted)


def test_what_is_known_of_rows_must_be_of_this_matrix(name):
    matrix = matrix_of(600, 48)
    ratio = feasible(name)
    counts = torch.ones(600)
    for context, message in (
        (Context(torch.ones(601)), "counts .*601.* 600 rows"),
        (Context(torch.ones(7)), "counts .*7.* 600 rows"),
        (Context(-counts), "counts are negative or NaN in row 0"),
        (Context(counts, special_ids=(600,)), "special_ids"),
        (Context(counts, sensitivity={"fisher": torch.ones(5)}), "fisher .*5"),
    ):
        with pytest.raises(UserError, match=message):
            compress(matrix, name, ratio, context)


@pytest.mark.parametrize("ratio", [1.5, 4, 7])
@pytest.mark.parametrize("rows", ["zeros", "constant", "duplicated"])
def test_degenerate_matrices_give_finite_rows(name, rows, ratio):
    matrix = {
        "zeros": torch.zeros(200, 48),
        "constant": torch.full((200, 48), 0.3),
        "duplicated": matrix_of(20, 48).repeat(10, 1),
    }[rows]
    try:
        compressed = compress(matrix, name, ratio, context_of(200))
    except InfeasibleRatio:
        return
    assert torch.isfinite(compressed.dense()).all()


def test_metadata_is_complete(name):
    method = method_class(name)
    assert method.label and method.kind in ("paper", "baseline", "ours", "control")
    assert bool(method.citation) == (method.kind == "paper")
    assert method.__doc__


@pytest.mark.parametrize("n_vectors", [1, 40])
def test_operations_of_a_product_are_those_that_torch_counts(name, n_vectors):
    _, compressed = fitted(name, 600, 48, feasible(name))
    # A product with one vector, such as a bias, is a matrix product too; torch leaves it out.
    with FlopCounterMode(
        display=False, custom_mapping={torch.ops.aten.mv: lambda a, b, **_: 2 * math.prod(a)}
    ) as counter:
        compressed.product(torch.randn(n_vectors, 48))
    assert counter.get_total_flops() == compressed.product_flops(n_vectors) > 0


def test_a_linear_layer_runs_on_any_method(name):
    method = method_class(name)
    matrix = matrix_of(48, 64)
    options = method.linear_defaults | QUICK.get(name, {})
    for ratio in RATIOS:
        try:
            compressed = compress(
                matrix, name, ratio, Context(torch.ones(48, dtype=torch.int64)), **options
            )
            break
        except InfeasibleRatio:  # LightToken's decoder alone is larger than so small a matrix
            continue
    else:
        pytest.skip(f"{name} reaches no ratio on a matrix of this size")
    dense = torch.nn.Linear(64, 48)
    layer = CompressedLinear(compressed, dense)
    x = torch.randn(3, 5, 64, generator=torch.Generator().manual_seed(1))
    wanted = torch.nn.functional.linear(x, compressed.dense(), dense.bias)
    torch.testing.assert_close(layer(x), wanted, rtol=1e-4, atol=1e-5)
    # Layers that share a matrix run on their own rows of it.
    torch.testing.assert_close(
        RowRange(compressed, 16, 32).product(x),
        x @ compressed.dense()[16:32].T,
        rtol=1e-4,
        atol=1e-5,
    )
    for n_vectors in (1, 300):
        with FlopCounterMode(
            display=False, custom_mapping={torch.ops.aten.mv: lambda a, b, **_: 2 * math.prod(a)}
        ) as counter:
            RowRange(compressed, 16, 32).product(torch.randn(n_vectors, 64))
        assert counter.get_total_flops() == RowRange(compressed, 16, 32).product_flops(n_vectors)
