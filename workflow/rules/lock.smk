"""Lifts the lock that a killed run left, where it is sure that no other run is alive in this folder.

Every process that reads the Snakefile holds a shared flock on the working folder itself, which the system ends with the process,
however that ends. Whoever gets it alone for a moment is the only one. Where a file system has no such locks (NFS does not give
them on folders), Snakemake's lock stays, and its message names the remedy: `snakemake --unlock`.
"""

import fcntl
import os
import shutil


def share_folder():
    """Join those that are at work in this folder until the process ends. Alone, lift a lock that is left."""
    folder, locks = os.open(".", os.O_RDONLY), Path(".snakemake/locks")
    try:
        if workflow.is_main_process:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if any(locks.glob("*.lock")):
                shutil.rmtree(locks)
                logger.warning(
                    "The last run in this folder was killed; going on where it stopped."
                )
    except OSError:
        pass
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
    except OSError:
        pass


share_folder()
