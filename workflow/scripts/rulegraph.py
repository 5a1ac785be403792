"""Rule rulegraph."""

import json
import subprocess
import tempfile
from pathlib import Path

from job import run

with run(snakemake), tempfile.TemporaryDirectory() as folder:
    study = Path(folder, "study.json")
    study.write_text(json.dumps(snakemake.params.given), encoding="utf-8")
    command = [snakemake.params.python, "-m", "snakemake", "--rulegraph", "mermaid-js", "--nolock"]
    command += ["--snakefile", snakemake.params.snakefile, "--configfile", study]
    graph = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    Path(snakemake.output[0]).write_bytes(graph)
