"""Tables of the time and memory of jobs."""

from embpress.report.tables import jobs_table, rules_table


def job(rule, seconds, peak_mb, **measured):
    return {
        "rule": rule,
        "wildcards": {},
        "threads": 1,
        "seconds": seconds,
        "peak_mb": peak_mb,
        **measured,
    }


JOBS = [
    job("scores", 1, 100),
    job("model", 4, 300, cpu_seconds=3.0, startup_cpu_seconds=1.0),
    job("evaluate", 20, 200, cpu_seconds=18.0, startup_cpu_seconds=2.0),
    job("evaluate", 10, 250, cpu_seconds=9.0, startup_cpu_seconds=2.5),
]


def texts(table):
    return [[cell.text for cell in row] for row in table.rows()]


def test_rules_are_sorted_by_their_core_seconds_and_summed():
    assert texts(rules_table(JOBS)) == [
        ["evaluate", "2", "27.0", "4.5", "20.0", "250"],
        ["model", "1", "3.0", "1.0", "4.0", "300"],
        ["scores", "1", "--", "--", "1.0", "100"],
        ["all", "4", "30.0", "5.5", "20.0", "300"],
    ]


def test_a_job_that_did_not_measure_its_processor_time_has_a_dash():
    assert texts(jobs_table(JOBS))[0] == ["scores", "", "1", "1.0", "--", "--", "100"]
