"""Conda environments, requirements and extras agree, and every rule has an environment."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
ENVS = sorted((ROOT / "envs").glob("*.yaml"))
PYPI_NAME = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def pins(text):
    """Versions of `name==version` lines."""
    return {m[1].lower(): m[2] for m in re.finditer(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def conda_pins(env):
    """Versions of an environment's packages under their PyPI names, python and pip left out."""
    versions = {}
    for line in yaml.safe_load(env.read_text())["dependencies"]:
        for entry in line["pip"] if isinstance(line, dict) else [line]:
            name, _, version = entry.replace("==", "=").partition("=")
            name = PYPI_NAME.get(name.strip(), name.strip())
            if name not in ("python", "pip"):
                versions[name.lower()] = version.strip()
    return versions


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
        # A rule that only some studies have is indented below its condition.
        blocks = re.split(r"^ *rule ", rules.read_text(), flags=re.MULTILINE)[1:]
        for block in blocks:
            (env,) = re.findall(r'conda:\s+"([^"]+)"', block)
            assert (rules.parent / env).resolve() in ENVS, block.split(":")[0]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "faiss": "faiss-cpu",
    "sentence_transformers": "sentence-transformers",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Distributions of modules that have another name."""
BROUGHT_BY = {
    "cycler": "matplotlib",
    "huggingface_hub": "transformers",
    "markupsafe": "jinja2",
    "pydantic_core": "pydantic",
}
"""Distributions that are a dependency of a listed one."""
INTEGRATIONS = {"compressed-tensors", "gguf", "mteb", "onnx", "sentence-transformers"}
"""Extras that a study does not need; the tests need them."""
CORE_ROOMS = ("export", "formats", "methods", "models", "numerics", "study")
"""Rooms that `embpress.load`, `compress` and `inspect` import, with the core dependencies alone."""


def distribution_names(requirements):
    """Lower-case names of the distributions in a list of requirements, embpress left out."""
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in requirements}
    return names - {"embpress"}


def installed_with(*extras):
    """Names of the distributions that the core dependencies and some extras list."""
    names = distribution_names(PROJECT["dependencies"])
    return names.union(*(distribution_names(EXTRAS[extra]) for extra in extras))


def imported_distributions(file, when_loaded):
    """Distributions that a file imports; when it is loaded, or anywhere."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if when_loaded else ast.walk(tree)
    modules = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module)
    names = {module.split(".")[0] for module in modules} - sys.stdlib_module_names - {"embpress"}
    return {DISTRIBUTIONS.get(BROUGHT_BY.get(n, n), BROUGHT_BY.get(n, n)) for n in names}


@pytest.mark.parametrize(
    "file", sorted((ROOT / "embpress").rglob("*.py")), ids=lambda f: str(f.relative_to(ROOT))
)
def test_what_the_library_imports_is_installed_with_it(file):
    assert imported_distributions(file, False) <= installed_with(*EXTRAS.keys() - {"dev"})
    room = file.relative_to(ROOT / "embpress").parts[0]
    if room in CORE_ROOMS or room.endswith(".py"):
        assert imported_distributions(file, True) <= installed_with()


def test_the_extra_workflow_holds_the_extras_of_the_library():
    included = Requirement(EXTRAS["workflow"][0])
    assert included.name == "embpress"
    assert included.extras == EXTRAS.keys() - {"workflow", "dev"} - INTEGRATIONS


def test_requirements_pin_what_the_extras_list():
    library = EXTRAS.keys() - {"dev"} - INTEGRATIONS
    required = pins((ROOT / "requirements.txt").read_text())
    assert required.keys() == installed_with(*library)
    for_development = pins((ROOT / "requirements-dev.txt").read_text())
    tested = Requirement(EXTRAS["dev"][0]).extras - {"workflow"}
    lists = [EXTRAS["dev"], *(EXTRAS[extra] for extra in tested)]
    assert tested <= INTEGRATIONS
    assert for_development.keys() | {"gguf"} == set().union(*map(distribution_names, lists))
