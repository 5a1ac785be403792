"""The JSON schema for editors: current, valid, and in agreement with the typed study."""

import copy
import json

import jsonschema
import pytest
import yaml

from embpress.pipeline.config_schema import render_schema

from ..studies import ROOT

FILE = ROOT / "workflow/schemas/config.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(json.loads(FILE.read_text()))


def test_the_schema_in_the_repository_is_current():
    """Write it anew as `embpress/pipeline/config_schema.py` says after a change of the models."""
    assert FILE.read_text() == render_schema(ROOT / "workflow/resources/benchmarks.yaml")


def test_the_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize(
    "path", [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))], ids=lambda p: p.name
)
def test_shipped_studies_are_valid(path):
    VALIDATOR.validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sedes",), [1]),
        (("ratios",), [4, 0.5]),
        (("methods", "svd"), {"option": {}}),
        (("models", "minilm", "format"), "pickle"),
        (("corpora", "software", "path"), "x"),
        (("tasks", "rotten", "kind"), "regresion"),
        (("tasks", "bitext", "pairs"), 1),
        (("tasks", "rotten", "finetune", "epochs"), 0),
        (("claims", "b21_direction", "comparisons", 0, "over"), 1),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_wrong_values_are_invalid(path, value, default_config):
    config = copy.deepcopy(default_config)
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert not VALIDATOR.is_valid(config)
