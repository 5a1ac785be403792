"""What the SLURM profile counts on in the rules."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = {
    block.partition(":")[0]: block
    for file in (ROOT / "workflow/rules").glob("*.smk")
    for block in re.split(r"^ *rule ", file.read_text(), flags=re.MULTILINE)[1:]
}
TEXTS = [file.read_text() for file in (ROOT / "workflow/rules").glob("*.smk")]
LISTED = [
    listed
    for text in TEXTS
    for listed in re.findall(r"^localrules:((?:\n    \w+,)+)", text, re.MULTILINE)
]
LOCAL = set(re.findall(r"\w+", " ".join(LISTED)))
LOCAL |= {name for name, block in RULES.items() if "localrule: True" in block}


def test_what_asks_the_network_is_local():
    scripts = {rule: (ROOT / f"workflow/scripts/{rule}.py").read_text() for rule in RULES}
    asking = {
        rule
        for rule, text in scripts.items()
        if re.search(r"import (download|fetch)\b|offline=False", text)
    }
    assert asking == {"package", "download", "hub_split", "hub_model", "hub_corpus"} <= LOCAL


@pytest.mark.parametrize("rule", sorted(RULES.keys() - LOCAL))
def test_a_retry_gets_more_memory_and_the_profile_decides_on_retries(rule):
    assert re.search(r"mem_mb=per_attempt\(\d+\),", RULES[rule])
    assert not re.search(r"runtime=\d", RULES[rule])
    assert "retries:" not in RULES[rule]


def test_the_profile_retries_and_asks_for_time():
    profile = yaml.safe_load((ROOT / "profiles/slurm/profile.v9+.yaml").read_text())
    assert profile["retries"] >= 1 and "attempt" in profile["default-resources"]["runtime"]
