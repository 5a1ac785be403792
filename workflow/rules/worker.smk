"""Starts a worker for the jobs of a local run; see ../scripts/worker.py."""

import subprocess

WORKER = "EMBPRESS_WORKER"


def start_worker():
    """Start a worker, which ends with this process, and tell jobs where it is."""
    if not workflow.local_exec or sys.platform != "linux" or WORKER in os.environ:
        return
    path = workflow.snakemake_tmp_dir / "worker"
    # Threads are those of a job: libraries start them when they are imported.
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_THREAD_TIMEOUT": "4",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        # torch then looks for a GPU without starting CUDA, which a forked process could not use.
        "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    }
    subprocess.Popen(
        [sys.executable, ROOT / "workflow/scripts/worker.py", path], env=environment
    )
    os.environ[WORKER] = f"{path}:{sys.executable}"
