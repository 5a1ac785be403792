"""snakemake, but jobs on SLURM are asked for their state every 3 seconds.

The plugin waits 10 seconds longer after each question to which no job had ended: a job of 20
seconds, as those of the tests are, is found to have ended after 45.
"""

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

SECONDS = 3

Executor.next_seconds_between_status_checks = property(
    lambda executor: SECONDS, lambda executor, seconds: None
)

if __name__ == "__main__":
    main()
