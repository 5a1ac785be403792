"""Kinds of matrices, where models have them, and what an entry of a config says of them."""

import pytest

from embpress.errors import UserError
from embpress.models.compressed_model import linear_weight
from embpress.study.layer_kinds import KINDS, PATTERNS, check_pattern, find_layer_matrices
from embpress.study.method_entry import PRESETS, MethodEntry, resolve_variant

from ..studies import load
from ..zoo import tiny

OF_BERT = ["query", "key", "value", "attention_output", "intermediate", "output"]
FUSED = ["query_key_value", "attention_output", "intermediate", "output"]
GATED = ["query", "key", "value", "attention_output", "intermediate", "intermediate_gate", "output"]


def names_of(model):
    return [name for name, _ in model.base_model.named_modules()]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        *(
            (name, OF_BERT)
            for name in (
                "bert",
                "bert_classifier",
                "distilbert_mlm",
                "roberta_mlm",
                "xlm_roberta_classifier",
            )
        ),
        *((name, OF_BERT) for name in ("electra_mlm", "deberta_v2_mlm")),
        ("gpt2", FUSED),
        *((name, GATED) for name in ("llama_tied", "qwen3", "gemma3")),
    ],
)
def test_kinds_cover_all_large_matrices_of_a_layer(name, kinds):
    model = tiny(name)
    found = find_layer_matrices(names_of(model), kinds)
    assert [place.kind for place in found] == kinds and {place.layer for place in found} == {0}
    weights = [linear_weight(model.base_model.get_submodule(p.name), p.name) for p in found]
    in_layers = [
        p
        for n, p in model.base_model.named_parameters()
        if p.ndim == 2 and any(s.isdigit() for s in n.split("."))
    ]
    # DeBERTa has position projections only where its attention is relative.
    assert sum(w.numel() for w in weights) == sum(p.numel() for p in in_layers)


def test_transposed_weights_are_seen_as_out_by_in():
    layer = tiny("gpt2").base_model.h[0].mlp.c_fc
    assert tuple(layer.weight.shape) == (16, 64) and tuple(linear_weight(layer, "c_fc").shape) == (
        64,
        16,
    )


def test_layers_come_kind_by_kind_in_numeric_order():
    names = [f"encoder.layer.{i}.attention.self.{k}" for i in (10, 2) for k in ("key", "query")]
    found = find_layer_matrices(names, ["query", "embedding", "key"])
    assert [(p.kind, p.layer) for p in found] == [
        ("query", 2),
        ("query", 10),
        ("key", 2),
        ("key", 10),
    ]


def test_a_model_without_a_kind_says_what_it_has():
    with pytest.raises(
        UserError,
        match="no layer of kind query: it has query_key_value, attention_output, intermediate",
    ):
        find_layer_matrices(names_of(tiny("gpt2")), ["query"])
    with pytest.raises(
        UserError,
        match="none of any kind.*`modules: {KIND: PATTERN}`",
    ):
        find_layer_matrices(names_of(tiny("t5")), ["query"])


def test_own_patterns_replace_the_known_ones():
    own = {"query": r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.q"}
    assert [p.name for p in find_layer_matrices(names_of(tiny("t5_encoder")), ["query"], own)] == [
        "encoder.block.0.layer.0.SelfAttention.q"
    ]
    check_pattern(own["query"], "models.m.modules.query")
    for wrong, message in (
        ("(", "regular expression"),
        ("layer.q", "the layer's number"),
    ):
        with pytest.raises(UserError, match=message):
            check_pattern(wrong, "models.m.modules.query")


def test_every_known_pattern_has_a_group_for_the_layer():
    for kind, patterns in PATTERNS.items():
        for pattern in patterns:
            check_pattern(pattern, kind)


def resolve(name, **entry):
    return resolve_variant(name, MethodEntry.model_validate(entry), (4,))


def test_specs_are_in_the_order_of_kinds_and_inherit_options_of_their_own_method_only():
    variant = resolve(
        "mixed",
        method="svd",
        options={"factor_dtype": "float16"},
        modules={
            "query": None,
            "embedding": {"ratio": 3},
            "output": {"method": "integer", "options": {"bits": 8}},
        },
    )
    specs = [(spec.kind, spec.method, spec.options, spec.ratio) for spec in variant.matrices]
    assert specs == [
        ("embedding", "svd", {"factor_dtype": "float16"}, 3),
        ("query", "svd", {"factor_dtype": "float16"}, None),
        ("output", "integer", {"bits": 8}, None),
    ]
    assert variant.compresses_layers and not resolve("svd").compresses_layers
    with pytest.raises(UserError, match="methods.svd.modules: .*'heads'.* embedding, query"):
        resolve("svd", modules=["heads"])


def test_presets_are_entries_and_an_unknown_one_is_named():
    for path in PRESETS.glob("*.yaml"):
        assert resolve("any", preset=path.stem).methods == ["kronecker"]
    with pytest.raises(UserError, match="preset 'k9'.*kroneckerbert"):
        resolve("any", preset="k9")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modules": ["query"], "method": "svdd"}, "there is no method 'svdd'; did you mean 'svd'"),
        (
            {"modules": {"query": {"options": {"rnak": 3}}}, "method": "svd"},
            "methods.own: SVD has no option 'rnak'",
        ),
        ({"modules": ["quarry"], "method": "svd"}, "there is no kind 'quarry'"),
        (
            {"budget": "model", "method": "svd"},
            "methods.own: `budget` .*`modules`",
        ),
        ({"modules": {"query": {"ratio": 0.5}}, "method": "svd"}, "query.ratio: 0.5 .*1"),
        ({"modules": ["query"], "method": "svd", "share": "heads"}, "'heads' is not one of"),
        ({"modules": "al", "method": "ectcq"}, "modules.*'al'.*all"),
        ({"modules": "all", "method": "svd"}, "methods.own: .*all.*svd.*kinds"),
        ({"modules": "all", "method": "ectcq", "budget": "modules"}, "`budget` .*all.*remove"),
        (
            {"modules": "all", "method": "ectcq", "options": {"lattice": True}},
            "methods.own: .*'lattice'.*feedback",
        ),
        (
            {"modules": "all", "method": "ectcq", "options": {"feedback": 1}},
            "methods.own: option feedback.*true",
        ),
    ],
)
def test_wrong_entries_are_named(default_config, changes, message):
    default_config["methods"]["own"] = changes
    with pytest.raises(UserError, match=message):
        load(default_config)


def test_whole_model_entries_and_patterns_pass_the_load(default_config):
    default_config["methods"] |= {
        "kron": {
            "method": "kronecker",
            "modules": list(KINDS[:7]),
            "budget": "model",
            "share": "layers",
        },
        "k8": {"preset": "kroneckerbert8", "ratios": [7]},
    }
    default_config["models"]["minilm"]["modules"] = {"query": r"encoder\.layer\.(\d+)\.q"}
    assert load(default_config).variants["k8"].method == "kronecker"
    default_config["models"]["minilm"]["modules"] = {"embedding": r"(\d+)"}
    with pytest.raises(UserError, match="models.minilm.modules: there is no kind 'embedding'"):
        load(default_config)


def test_sensitive_kinds_are_those_weighted_on_a_checkpoint(default_config):
    default_config["methods"]["b23_model"] = {
        "method": "b23",
        "options": {"weighting": "fisher"},
        "modules": {"embedding": None, "key": None, "value": {"method": "svd"}},
    }
    default_config["tasks"]["bitext"]["methods"] = ["svd"]
    default_config["tasks"]["similarity"]["methods"] = ["svd"]
    default_config["tasks"]["rotten"]["methods"] = ["svd", "b23_model"]
    default_config["tasks"]["wikitext"]["methods"] = ["svd"]
    del default_config["claims"]
    study = load(default_config)
    assert study.variants["b23_model"].needs_sensitivity
    assert study.sensitive_kinds("rotten") == ["key"]
    assert study.sensitive_kinds("e5") == []
