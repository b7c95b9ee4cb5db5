"""Metric checks: what fails, what waits, and what is said."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.check_gates import check_gate
from tournant.domain.checks import MetricCheck, Reading
from tournant.domain.rollout import Verdict

P99 = MetricCheck(name="p99", url="http://p:9090", query="p99_ms", maximum=100.0, minimum=1.0)
VALUES = st.one_of(st.none(), st.floats(-500, 500), st.just(math.inf))


def readings(*values: float | None) -> list[Reading]:
    return [Reading(value=value) for value in values]


@given(st.lists(VALUES, max_size=12), st.integers(1, 4))
def test_no_data_never_promotes_and_only_readings_in_a_row_fail(values: list[float | None], failures: int) -> None:
    """Against the definition, written out: gaps are no evidence either way."""
    check = MetricCheck(name="c", url="http://p", query="q", maximum=100.0, minimum=-100.0, failures=failures)
    gate = check_gate(check, readings(*values))
    known = [value for value in values if value is not None]
    beyond = [not -100.0 <= value <= 100.0 for value in known]
    failed = len(known) >= failures and all(beyond[-failures:])
    assert (gate.verdict is Verdict.FAILED) == failed
    if not values or values[-1] is None or len(known) < failures:
        assert gate.verdict is not Verdict.SUCCESSFUL
    if gate.verdict is Verdict.SUCCESSFUL:
        assert not beyond[-1]
    assert gate.samples == len(known) and gate.minimum == failures


def test_a_failure_says_value_limit_and_query() -> None:
    """On the side that was passed."""
    above, below = check_gate(P99, readings(7, 130, 131, 132.5)), check_gate(P99, readings(0, 0, 0.5))
    assert above.verdict is below.verdict is Verdict.FAILED
    assert above.reason == "p99 is 132.5, above its maximum of 100, in 3 readings in a row: p99_ms"
    assert (above.candidate, above.limit) == (132.5, 100.0)
    assert below.reason == "p99 is 0.5, below its minimum of 1, in 3 readings in a row: p99_ms"
    assert (below.candidate, below.limit) == (0.5, 1.0)


def test_what_cannot_be_read_waits_and_says_why() -> None:
    """Even after good readings."""
    gate = check_gate(P99, [*readings(7, 8, 9), Reading(problem="Prometheus does not answer")])
    assert gate.verdict is Verdict.WAITING
    assert gate.reason == "p99 cannot be read (Prometheus does not answer): p99_ms"


def test_what_has_failed_stays_failed_when_data_stop() -> None:
    """A candidate so bad that its metrics stop is not let off."""
    assert check_gate(P99, readings(130, 130, 130, None)).verdict is Verdict.FAILED


def test_a_zero_is_data() -> None:
    """Only None is none."""
    check = MetricCheck(name="errors", url="http://p", query="q", maximum=0.0, failures=1)
    assert check_gate(check, readings(0.0)).reason == "errors is 0, within its maximum of 0: q"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"maximum": None}, "needs a maximum"),
        ({"minimum": 2.0, "maximum": 1.0}, "not above it"),
        ({"maximum": math.nan}, "needs a maximum"),
        ({"query": " "}, "needs a name and a query"),
        ({"url": "prometheus:9090"}, "address"),
        ({"failures": 0}, "one failure or more"),
        ({"every_seconds": 0.0}, "some seconds"),
    ],
)
def test_a_check_that_could_say_nothing_is_refused(changes: dict[str, object], words: str) -> None:
    """With what is missing."""
    given = {"name": "c", "url": "http://p", "query": "q", "maximum": 1.0, **changes}
    with pytest.raises(ValueError, match=words):
        MetricCheck(**given)  # type: ignore[arg-type]
