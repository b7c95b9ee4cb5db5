"""Small marks: what they show stays inside their box, whatever the numbers."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.rollout import Gate, Verdict
from tournant.web.pages.marks import histogram, interval_mark, sparkline, strip
from tournant.web.pages.rollouts import gate_rows

numbers = st.floats(-1e6, 1e6) | st.none() | st.sampled_from([math.inf, -math.inf])


@given(
    difference=st.floats(-1e6, 1e6) | st.none(), lower=numbers, upper=numbers, limit=st.floats(-1e6, 1e6) | st.none()
)
def test_an_interval_is_drawn_inside_its_box(
    difference: float | None, lower: float | None, upper: float | None, limit: float | None
) -> None:
    """Zero, limit, estimate and ends lie in 190 pixels; an infinite end is cut off and says so."""
    mark = interval_mark(difference, lower, upper, limit)
    for x in (mark.zero, mark.limit, mark.low, mark.high, mark.middle):
        assert x is None or 0 <= x <= 190
    if difference is not None and upper == math.inf:
        assert mark.cut_high and mark.high == 190


@given(values=st.lists(st.floats(-1e9, 1e9) | st.none(), max_size=60), limit=st.floats(-1e9, 1e9) | st.none())
def test_a_sparkline_stays_in_its_box(values: list[float | None], limit: float | None) -> None:
    """Every point lies within 96 by 24; gaps break the line."""
    line = sparkline(values, limit)
    points = [tuple(map(float, point.split(","))) for part in line.lines for point in part.split()]
    assert all(0 <= x <= 96 and 0 <= y <= 24 for x, y in points)
    assert (line.end is None) == (not [v for v in values if v is not None])


def test_a_strip_tells_severity_by_height() -> None:
    """None is low, then ok, warning and failing rise: never colour alone."""
    cells = strip([("none", ""), ("ok", ""), ("warn", ""), ("crit", "")])
    assert [cell.height for cell in cells] == [3, 8, 11, 13]


def test_a_histogram_compares_shares() -> None:
    """The same distribution of ten times the rows is drawn at the same height."""
    assert all(was == now for _, _, was, now in histogram([1, 2, 3], [10, 20, 30]).bars)


def test_failing_gates_come_first() -> None:
    """Who asks why a rollout failed sees it in the first row."""
    gates = [Gate(name="errors", verdict=Verdict.SUCCESSFUL), Gate(name="loss", verdict=Verdict.FAILED)]
    assert [row.gate.name for row in gate_rows(gates)] == ["loss", "errors"]
