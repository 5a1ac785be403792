"""Run a study, and evaluate a finished one again with another device or precision."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas

from embpress.methods import aliases, controls

ROOT = Path(__file__).parents[1]
LINKED_BYTES = 1 << 20
"""Files from this size on are linked, not copied; jobs write none of them anew in place."""


def run_study(folder: Path, study: Path, *arguments: str, **settings: str) -> None:
    """Run a study in a folder.

    Args:
        folder: the working folder; results are below it.
        study: the config.
        arguments: of Snakemake.
        settings: top-level keys of the config to replace.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "all",
        "--snakefile",
        ROOT / "Snakefile",
    ]
    command += ["--directory", folder, *arguments, "--configfile", study]
    if settings:
        command += ["--config", *(f"{key}={value}" for key, value in settings.items())]
    subprocess.run(command, check=True, stdout=sys.stderr)


def evaluate_again(
    finished: Path, study: Path, folder: Path, only: tuple[str, ...] = (), **settings: str
) -> pandas.DataFrame:
    """Evaluate the artefacts of a finished study with other settings, in a copy.

    Args:
        finished: the working folder of the finished study.
        study: its config.
        folder: the working folder of the copy.
        only: names of variants to evaluate again; all if empty.
        settings: top-level keys of the config to replace, `device` or `precision`.

    Returns:
        The scores of the copy.
    """
    shutil.copytree(finished / "results", folder / "results", copy_function=_copy)
    for outcomes in (folder / "results/evaluation").rglob("*.safetensors"):
        if not only or outcomes.stem in only:
            outcomes.unlink()
    (folder / "results/scores.csv").unlink()
    # Only these files are missing: neither newer code nor the new settings run other jobs.
    run_study(folder, study, "results/scores.csv", "--rerun-triggers", "mtime", **settings)
    return read_scores(folder)


def _copy(source: str, target: str) -> None:
    """Link a large file, and copy a small one: logs are written in place."""
    if os.path.getsize(source) >= LINKED_BYTES:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def read_scores(folder: Path) -> pandas.DataFrame:
    """The scores of a finished study.

    Left out are ratios that are out of reach, metrics without retention, which compare a model with
    the uncompressed one, and the floors: a perplexity of 10^6 says nothing about rounding.
    """
    scores = pandas.read_csv(folder / "results/scores.csv").dropna(subset=["value", "retention"])
    floors = controls() - {"identity"}
    return scores[[aliases().get(name, name) not in floors for name in scores["method"]]]


KEYS = ["task", "method", "target_ratio", "seed", "metric"]


def differences(before: pandas.DataFrame, after: pandas.DataFrame) -> pandas.DataFrame:
    """By how much scores differ: rows by task and metric.

    Returns:
        Columns `n` scores; `value`, the value of the uncompressed model before; `change`, the mean
        and `largest`, the largest absolute change of a value; `retention`, the largest absolute
        change of a retention in percentage points.
    """
    both = before.merge(after, on=KEYS, suffixes=("", "_after"))
    if len(both) != len(before):
        raise RuntimeError(f"{len(before)} scores before, but {len(both)} of them after")
    both["change"] = both["value_after"] - both["value"]
    both["largest"] = both["change"].abs()
    both["retention_change"] = (both["retention_after"] - both["retention"]).abs()
    return both.groupby(["task", "metric"], as_index=False).agg(
        n=("value", "size"),
        value=("uncompressed_value", "first"),
        change=("change", "mean"),
        largest=("largest", "max"),
        retention=("retention_change", "max"),
    )
