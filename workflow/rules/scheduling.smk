"""Removes Snakemake's default limit of jobs a second, whose timers would take a core in long runs.

With a limit, each scheduling round starts a timer that starts another round, and so does each
finished job: after n jobs, n rounds a second look at the inputs of all jobs that are ready
(snakemake#3744). Without one, each finished job starts one round. A longer timespan makes rounds
rarer, but Snakemake waits for the last timer before it exits. No option switches the limit off.
"""

DEFAULT_LIMIT = (100, 1)  # jobs, seconds


def remove_job_limit():
    """Remove the limit, unless another one than the default was given."""
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == DEFAULT_LIMIT:
        workflow.scheduler.job_rate_limiter = None
