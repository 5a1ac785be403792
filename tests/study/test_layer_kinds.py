"""Kinds of matrices, where models have them, and what an entry of a config says of them."""

import pytest

from embpress.errors import UserError
from embpress.models.compressed_model import linear_weight
from embpress.study import config as study
from embpress.study.layer_kinds import KINDS, PATTERNS, check_pattern, places
from embpress.study.matrix_choices import PRESETS, choices_of, is_whole_model
from embpress.study.validation import check

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
    found = places(names_of(model), kinds)
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
    found = places(names, ["query", "embedding", "key"])
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
        places(names_of(tiny("gpt2")), ["query"])
    with pytest.raises(
        UserError,
        match="it has none of any kind; leave the kind out, or give `modules: {KIND: PATTERN}`",
    ):
        places(names_of(tiny("t5")), ["query"])


def test_own_patterns_replace_the_known_ones():
    own = {"query": r"encoder\.block\.(\d+)\.layer\.0\.SelfAttention\.q"}
    assert [p.name for p in places(names_of(tiny("t5_encoder")), ["query"], own)] == [
        "encoder.block.0.layer.0.SelfAttention.q"
    ]
    check_pattern(own["query"], "models.m.modules.query")
    for wrong, message in (
        ("(", "is no regular expression"),
        ("layer.q", "must hold the layer's number"),
    ):
        with pytest.raises(UserError, match=message):
            check_pattern(wrong, "models.m.modules.query")


def test_every_known_pattern_has_a_group_for_the_layer():
    for kind, patterns in PATTERNS.items():
        for pattern in patterns:
            check_pattern(pattern, kind)


def test_entries_spell_out_their_choices_in_the_order_of_kinds():
    entry = {
        "method": "svd",
        "options": {"factor_dtype": "float16"},
        "modules": {
            "query": None,
            "embedding": {"ratio": 3},
            "output": {"method": "integer", "options": {"bits": 8}},
        },
    }
    found = choices_of("mixed", entry)
    assert [tuple(c) for c in found] == [
        ("embedding", "svd", {"factor_dtype": "float16"}, 3),
        ("query", "svd", {"factor_dtype": "float16"}, None),
        ("output", "integer", {"bits": 8}, None),
    ]
    assert is_whole_model(entry) and not is_whole_model({"method": "svd"})
    with pytest.raises(
        UserError, match=r"methods.x.modules: there is no kind 'heads'; there are embedding, query"
    ):
        choices_of("x", {"modules": ["heads"]})


def test_presets_are_entries_and_an_unknown_one_is_named():
    for path in PRESETS.glob("*.yaml"):
        assert {c.method for c in choices_of("any", {"preset": path.stem})} == {"kronecker"}
    with pytest.raises(
        UserError, match="there is no preset 'k9'; there are kroneckerbert21, kroneckerbert8"
    ):
        choices_of("any", {"preset": "k9"})


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
            "methods.own: `budget` is of entries with `modules`",
        ),
        ({"modules": {"query": {"ratio": 0.5}}, "method": "svd"}, "0.5 is less than the minimum"),
        ({"modules": ["query"], "method": "svd", "share": "heads"}, "'heads' is not one of"),
    ],
)
def test_wrong_entries_are_named(default_config, schema, packages, changes, message):
    default_config["methods"]["own"] = changes
    with pytest.raises(UserError, match=message):
        check(default_config, schema, packages)


def test_whole_model_entries_and_patterns_pass_the_check(default_config, schema, packages):
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
    check(default_config, schema, packages)
    assert study.method_of(default_config, "k8") == "kronecker"
    default_config["models"]["minilm"]["modules"] = {"embedding": r"(\d+)"}
    with pytest.raises(UserError, match="models.minilm.modules: there is no kind 'embedding'"):
        check(default_config, schema, packages)


def test_sensitive_kinds_are_those_weighted_on_a_checkpoint(default_config):
    default_config["methods"]["b23_model"] = {
        "method": "b23",
        "options": {"weighting": "fisher"},
        "modules": {"embedding": None, "key": None, "value": {"method": "svd"}},
    }
    default_config["tasks"]["bitext"]["methods"] = ["svd"]
    assert study.needs_sensitivity(default_config, "b23_model")
    assert study.sensitive_kinds(default_config, "rotten") == ["key"]
    assert study.sensitive_kinds(default_config, "e5") == []
