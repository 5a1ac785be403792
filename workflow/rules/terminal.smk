"""One terminal line for each job. Snakemake's own five would hide the progress of a study of hundreds of jobs."""

import logging
import os
import time

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

CHATTER = ("Select jobs to execute", "Execute ")


class OneLinePerJob(logging.Filter):
    """Shortens what Snakemake tells about jobs that start, and drops what it tells about scheduling and finished jobs."""

    def __init__(self, workflow):
        super().__init__()
        self.workflow = workflow
        self.n_done = 0

    def filter(self, record):
        event = getattr(record, "event", None)
        if self.workflow.dryrun:
            return True
        if event == LogEvent.PROGRESS:
            self.n_done = record.done
            return record.done == record.total
        if event == LogEvent.JOB_INFO:
            count = f"{self.n_done}/{len(self.workflow.dag)}"
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
