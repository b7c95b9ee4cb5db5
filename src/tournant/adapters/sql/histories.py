"""Reads metric histories, whole or sampled."""

from collections.abc import Sequence

from tournant.adapters.sql.driver import Driver
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import Metric

__all__ = ["read_history"]

_NAN = float("nan")


def read_history(driver: Driver, query: HistoryQuery) -> list[Metric]:
    """Give the points a query asks for; runs that are not there have none."""
    if not query.runs:
        return []
    marks = ", ".join("?" * len(query.runs))
    numbers = dict(driver.rows(f"SELECT number, id FROM run WHERE id IN ({marks})", query.runs))
    if not numbers:
        return []
    where = f"run IN ({', '.join(map(str, numbers))}) AND key = ?"
    values: list[object] = [query.key]
    for test, step in (("step >= ?", query.first_step), ("step <= ?", query.last_step)):
        if step is not None:
            where += f" AND {test}"
            values.append(step)
    if query.samples is not None:
        every = [
            row[0] for row in driver.rows(f"SELECT DISTINCT step FROM metric_point WHERE {where} ORDER BY step", values)
        ]
        ends = driver.rows(f"SELECT min(step), max(step) FROM metric_point WHERE {where} GROUP BY run", values)
        steps = _sampled_steps(every, ends, query.samples)
        where += f" AND step IN ({', '.join(map(str, steps)) or 'NULL'})"
    page = f" LIMIT {query.limit} OFFSET {query.offset}" if query.limit is not None else ""
    statement = (
        f"SELECT run, step, time, value, nan FROM metric_point WHERE {where} ORDER BY run, time, step, value{page}"
    )
    return [
        Metric(run=numbers[number], key=query.key, step=step, time=time, value=_NAN if nan else value)
        for number, step, time, value, nan in driver.rows(statement, values)
    ]


def _sampled_steps(every: Sequence[int], ends: Sequence[Sequence[int]], samples: int) -> list[int]:
    """Choose steps evenly out of all runs' steps, and each run's first and last.

    >>> _sampled_steps([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100], [(0, 9), (100, 100)], 4)
    [0, 3, 6, 9, 100]
    """
    if len(every) <= samples:
        return list(every)
    spread = {every[i * (len(every) - 1) // max(1, samples - 1)] for i in range(samples)}
    return sorted(spread | {step for both in ends for step in both})
