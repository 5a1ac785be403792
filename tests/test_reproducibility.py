"""Nothing but the config's seeds decides a result, and threads move scores by no more than the docs
say.

That two runs give the same bytes, tables and figures included, is shown by
tests/integration/test_faults.py.
"""

import ast

import pytest
import torch
from threadpoolctl import threadpool_limits

from embpress.fidelity.reconstruction import reconstruction
from embpress.methods import compress, names
from embpress.models.embedding import EmbeddingSlot

from .conftest import ROOT
from .methods.samples import QUICK, context_of, feasible, matrix_of
from .zoo import tiny

SOURCES = [
    path
    for folder in ("embpress", "workflow/scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
DRAWS = {
    "rand",
    "randn",
    "randint",
    "randperm",
    "normal",
    "multinomial",
    "bernoulli",
    "rand_like",
    "randn_like",
}
UNSEEDED = {"random", "secrets", "uuid"}
TOLERANCE = 0.01
"""Share by which an error, a cosine.

An overlap or a perplexity may move with the number of threads.
"""


def dotted(node):
    """`a.b.c` of an expression, or what of it is one."""
    return (
        f"{dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Attribute)
        else getattr(node, "id", "")
    )


def unseeded(call):
    """Whether a call draws at random from anything but a generator with a seed.

    Or depends on clock or process.
    """
    name = dotted(call.func)
    arguments = {k.arg for k in call.keywords}
    last = name.rpartition(".")[2]
    return (
        (
            name.startswith(("np.random.", "numpy.random."))
            and (last not in ("default_rng", "SeedSequence") or not call.args)
        )
        or (name.startswith("torch.") and last in DRAWS and "generator" not in arguments)
        or (
            last in {"uniform_", "normal_", "random_", "exponential_"}
            and "generator" not in arguments
        )
        or name in {"time.time", "time.time_ns", "datetime.now", "os.urandom", "hash"}
    )


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_is_drawn_without_a_seed_of_the_config(path):
    text = path.read_text()
    assert text.count("torch.Generator(") == text.count("torch.Generator().manual_seed(")
    for node in ast.walk(ast.parse(text)):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not UNSEEDED & set(modules), f"line {node.lineno}"
        assert not (isinstance(node, ast.Call) and unseeded(node)), f"line {node.lineno}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("np.random.rand(3)", True),
        ("np.random.default_rng()", True),
        ("np.random.default_rng(0)", False),
        ("torch.randn(3)", True),
        ("torch.randn(3, generator=g)", False),
        ("x.uniform_()", True),
        ("hash('a')", True),
        ("time.perf_counter()", False),
    ],
)
def test_what_is_looked_for_is_found(source, found):
    assert unseeded(ast.parse(source).body[0].value) is found


@pytest.fixture(scope="module")
def slot():
    """The embedding of a language model of 600 tokens, its head tied."""
    return EmbeddingSlot(tiny("llama_tied", vocab_size=600, hidden_size=64, intermediate_size=64))


def measured(slot, method, threads):
    """Errors of a matrix compressed on so many threads.

    And the perplexity of a model that runs on it.
    """
    context = context_of(600)
    matrix = matrix_of(600, 64)
    ids = torch.randint(600, (4, 64), generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            ratio = feasible(method, 600, 64, [4, 3.9, 1.5, 1])
            compressed = compress(matrix, method, ratio, context, **QUICK.get(method, {}))
            near = reconstruction(matrix, compressed, context.counts)
            slot.set_matrix(compressed)
            with torch.inference_mode():
                perplexity = float(slot.model(input_ids=ids, labels=ids).loss.exp())
    finally:
        torch.set_num_threads(before)
    return {
        **{k: v for k, v in near.to_json().items() if isinstance(v, float)},
        "perplexity": perplexity,
    }


@pytest.mark.parametrize("method", names())
def test_threads_move_scores_by_no_more_than_the_tolerance(slot, method):
    one, two = (measured(slot, method, threads) for threads in (1, 2))
    assert one == pytest.approx(two, rel=TOLERANCE, abs=1e-6)
