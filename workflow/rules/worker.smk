"""Starts a worker for the jobs of a local run; see ../scripts/worker.py."""

import os
import subprocess

WORKER = "EMBPRESS_WORKER"


def start_worker():
    """Start a worker, which ends with this process, and tell jobs where it is."""
    if not workflow.local_exec or sys.platform != "linux" or WORKER in os.environ:
        return
    path = workflow.snakemake_tmp_dir / "worker"
    worker = [
        sys.executable,
        ROOT / "workflow/scripts/worker.py",
        path,
        str(os.getpid()),
    ]
    subprocess.Popen(worker)
    os.environ[WORKER] = f"{path}:{sys.executable}"
