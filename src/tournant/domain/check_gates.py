"""The gates on metric checks: a query's readings against its limits."""

from collections.abc import Sequence

from tournant.domain.checks import MetricCheck, Reading
from tournant.domain.rollout import Gate, Verdict

__all__ = ["check_gate"]


def check_gate(check: MetricCheck, readings: Sequence[Reading]) -> Gate:
    """Judge a check by its readings, oldest first.

    It fails once the last `failures` values are all beyond a limit, whatever gaps lie between them, and is successful
    once as many were read, the newest within the limits. While there is no data it waits.

    >>> check = MetricCheck(name="errors", url="http://p", query="sum(errors)", maximum=0.05, failures=2)
    >>> for values in ([], [0.01, 0.02], [0.01, 0.5], [0.2, 0.5], [0.01, 0.02, None]):
    ...     gate = check_gate(check, [Reading(value=value) for value in values])
    ...     print(f"{gate.verdict}: {gate.reason}")
    waiting: errors has no data yet: sum(errors)
    successful: errors is 0.02, within its maximum of 0.05: sum(errors)
    waiting: errors is 0.5, above its maximum of 0.05, in 1 of the 2 readings that fail it: sum(errors)
    failed: errors is 0.5, above its maximum of 0.05, in 2 readings in a row: sum(errors)
    waiting: errors has no data now: sum(errors)
    """
    values = [reading.value for reading in readings if reading.value is not None]
    run = _last_beyond(check, values)
    verdict, words = _judge(check, readings, values, run)
    return Gate(
        name=check.name,
        verdict=verdict,
        candidate=values[-1] if values else None,
        limit=_limit(check, values[-1] if values else None),
        samples=len(values),
        minimum=check.failures,
        reason=f"{check.name} {words}: {check.query}",
    )


def _judge(check: MetricCheck, readings: Sequence[Reading], values: Sequence[float], run: int) -> tuple[Verdict, str]:
    if run >= check.failures:
        return Verdict.FAILED, f"{_beyond(check, values[-1])}, in {_readings(run)}{' in a row' if run > 1 else ''}"
    if readings and readings[-1].problem:
        return Verdict.WAITING, f"cannot be read ({readings[-1].problem})"
    if not readings or readings[-1].value is None:
        return Verdict.WAITING, "has no data now" if values else "has no data yet"
    if run:
        return Verdict.WAITING, f"{_beyond(check, values[-1])}, in {run} of the {check.failures} readings that fail it"
    within = f"is {values[-1]:.4g}, within {_limits(check)}"
    if len(values) < check.failures:
        return Verdict.WAITING, f"{within}, in {len(values)} of {_readings(check.failures)}"
    return Verdict.SUCCESSFUL, within


def _last_beyond(check: MetricCheck, values: Sequence[float]) -> int:
    """Count the newest values in a row that are beyond a limit."""
    run = 0
    for value in reversed(values):
        if _limit_passed(check, value) is None:
            break
        run += 1
    return run


def _limit_passed(check: MetricCheck, value: float) -> float | None:
    if check.maximum is not None and value > check.maximum:
        return check.maximum
    return check.minimum if check.minimum is not None and value < check.minimum else None


def _limit(check: MetricCheck, value: float | None) -> float | None:
    passed = None if value is None else _limit_passed(check, value)
    ordinary = check.minimum if check.maximum is None else check.maximum
    return ordinary if passed is None else passed


def _beyond(check: MetricCheck, value: float) -> str:
    above = check.maximum is not None and value > check.maximum
    limit = f"above its maximum of {check.maximum:.4g}" if above else f"below its minimum of {check.minimum:.4g}"
    return f"is {value:.4g}, {limit}"


def _limits(check: MetricCheck) -> str:
    named = (("minimum", check.minimum), ("maximum", check.maximum))
    return "its " + " and ".join(f"{name} of {limit:.4g}" for name, limit in named if limit is not None)


def _readings(count: int) -> str:
    return "1 reading" if count == 1 else f"{count} readings"
