"""One terminal line for each job, and one that changes: the progress of the run. Snakemake's own lines would hide it."""

import atexit
import logging
import os
import time

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from embpress.pipeline.job_records import read_job_records
from embpress.pipeline.progress import PlannedJob, Progress, StatusLine

CHATTER = ("Select jobs to execute", "Execute ")


def planned_jobs(dag):
    """Jobs that will run, by Snakemake's number."""

    def planned(job):
        record = Path(job.log[0]).with_suffix(".json") if job.log else None
        return PlannedJob(job.rule.name, record)

    return {job.jobid: planned(job) for job in dag.needrun_jobs()}


def status_line():
    """The terminal's stream with a line of progress, None where Snakemake does not write to a terminal."""
    for handler in logger.handlers:
        stream = getattr(handler, "stream", None)
        if stream is not None and stream.isatty():
            status = StatusLine(stream)
            handler.setStream(status)
            atexit.register(status.show, "")
            return status
    return None


class OneLinePerJob(logging.Filter):
    """Shortens what Snakemake tells about jobs that start, and drops what it tells about scheduling and finished jobs."""

    def __init__(self, workflow):
        super().__init__()
        self.workflow = workflow
        self.progress = None
        self.status = None

    def start(self):
        """Read how long jobs took in earlier runs. Jobs on other nodes have no need of it."""
        is_main = self.workflow.is_main_process
        records = read_job_records(Path("results/logs")) if is_main else {}
        self.progress = Progress(planned_jobs(self.workflow.dag), records)
        self.status = status_line()

    def show_progress(self, is_last):
        if self.status is not None:
            is_local = self.workflow.local_exec
            slots = self.workflow.cores if is_local else self.workflow.nodes
            self.status.show("" if is_last else self.progress.line(slots, time.time()))

    def filter(self, record):
        event = getattr(record, "event", None)
        if self.workflow.dryrun:
            return True
        if self.progress is None and event in (LogEvent.RUN_INFO, LogEvent.JOB_INFO):
            self.start()
        if event == LogEvent.JOB_FINISHED:
            self.progress.finish(record.job_id)
        if event == LogEvent.PROGRESS:
            is_last = record.done == record.total
            self.show_progress(is_last)
            return is_last
        if event == LogEvent.JOB_INFO:
            count = f"{self.progress.n_done}/{self.progress.n_jobs}"
            record.msg = f"{time.strftime('%H:%M:%S')} [{count}] {record.rule_msg or record.rule_name}"
            record.args, record.event = None, None
        return event != LogEvent.JOB_FINISHED and not record.getMessage().startswith(
            CHATTER
        )


# EMBPRESS_TERMINAL=full keeps all that Snakemake tells. A module's Snakefile may be read more than once.
is_short = os.environ.get("EMBPRESS_TERMINAL") != "full"
if is_short and not any(
    type(f).__name__ == OneLinePerJob.__name__ for f in logger.filters
):
    logger.addFilter(OneLinePerJob(workflow))
