"""Typed studies for tests, from dictionaries as YAML gives them."""

from pathlib import Path

from embpress.study.loading import load_study, read_pins
from embpress.study.model_entry import ModelEntry
from embpress.study.study import Study
from embpress.study.yaml_files import read_yaml
from embpress.tasks import parse_entry

ROOT = Path(__file__).parents[1]
BENCHMARKS = read_yaml(ROOT / "workflow/resources/benchmarks.yaml")
PINS = read_pins(read_yaml(ROOT / "workflow/resources/packages.yaml"))


def load(config):
    """The checked study of a config, as the Snakefile loads it."""
    return load_study(config, BENCHMARKS, PINS, parse_entry)


def make_study(**sections):
    """A study that is not checked, with what is missing of the keys that every study needs."""
    keys = {"study": "s", "seeds": [0], "ratios": [4], "methods": {"identity": {}}}
    keys["models"] = {"m": {"label": "Model", "format": "transformers", "path": "m"}}
    keys["corpora"] = {"c": {"format": "folder", "path": "."}}
    return Study.from_config(keys | sections, parse_entry)


def model_entry(**keys):
    """A typed entry under `models:`."""
    return ModelEntry.model_validate({"label": "A model", "format": "transformers"} | keys)
