"""Run a script in several processes that train one model together."""

import logging
import os
import sys


def is_launched() -> bool:
    """Whether this process is one of those that `launch` started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """Whether this process is the first of those launched, or the only one: it writes results."""
    return not is_launched() or os.environ["RANK"] == "0"


def launch(script: str, n_processes: int) -> int:
    """Run a Python script in n processes of this machine at once, with torch's launcher.

    `accelerate` finds the others in each process by the environment that the launcher sets. If a
    process fails, the others are ended.

    Returns:
        0 if all processes have succeeded; else the exit status of the first that failed, negative
        if a signal ended it.
    """
    # Here, because each job asks whether it was launched.
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Each failed process tells its reason; the launcher would add a page for each.
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    # Torch warns in each process that looking for unused parameters takes time if there are none.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=n_processes,
        run_id=str(os.getpid()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)(script)
    except ChildFailedError as error:
        return int(error.get_first_failure()[1].exitcode)
    return 0
