"""Conda environments and requirements pin the same versions.

And every rule runs in one of the environments.
"""

import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
PYPI_NAME = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def pins(text):
    """Versions of `name==version` lines."""
    return {m[1].lower(): m[2] for m in re.finditer(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def conda_pins(env):
    """Versions of an environment's packages under their PyPI names, python and pip left out."""
    found = {}
    for line in yaml.safe_load(env.read_text())["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            name, _, version = entry.replace("==", "=").partition("=")
            name = PYPI_NAME.get(name.strip(), name.strip())
            if name not in ("python", "pip"):
                found[name.lower()] = version.strip()
    return found


@pytest.mark.parametrize("env", ENVS, ids=lambda e: e.stem)
def test_environments_pin_what_the_requirements_install(env):
    required = pins((ROOT / "requirements.txt").read_text())
    for name, version in conda_pins(env).items():
        assert version == required[name], name


def test_constraints_hold_every_requirement_at_its_version():
    constraints = pins((ROOT / "constraints.txt").read_text())
    for file in ("requirements.txt", "requirements-dev.txt"):
        for name, version in pins((ROOT / file).read_text()).items():
            assert constraints[name] == version, name


def test_every_rule_names_an_environment_that_exists():
    for rules in (ROOT / "workflow/rules").glob("*.smk"):
        # A rule that only some studies have stands indented below its condition.
        blocks = re.split(r"^ *rule ", rules.read_text(), flags=re.MULTILINE)[1:]
        for block in blocks:
            (env,) = re.findall(r'conda:\s+"([^"]+)"', block)
            assert (rules.parent / env).resolve() in ENVS, block.split(":")[0]


def test_what_the_library_imports_is_installed_with_it():
    """But for plots and for sources of models and data, which only the workflow has."""
    listed = {
        re.split(r"[><=]", d)[0].lower()
        for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    names = {"sklearn": "scikit-learn", "yaml": "pyyaml", "faiss": "faiss-cpu"}
    of_the_workflow = {"matplotlib", "cycler", "fugashi"}
    for file in set((ROOT / "embpress").rglob("*.py")) - set((ROOT / "embpress/data").iterdir()):
        for found in re.findall(r"^ *(?:from|import) (\w+)", file.read_text(), flags=re.MULTILINE):
            if (
                found not in sys.stdlib_module_names
                and found not in of_the_workflow
                and found != "embpress"
            ):
                assert names.get(found, found).lower() in listed, f"{file}: {found}"
