"""The cost of scheduling does not grow with the number of finished jobs."""

from bench.scheduler import grid_usage


def test_finished_jobs_leave_no_timers_that_start_scheduling_rounds():
    # With Snakemake's own limit of jobs a second, there is one for each job of the last second.
    assert grid_usage(n_jobs=20, seconds=0, cores=4, ours=True)["timers"] == 0
