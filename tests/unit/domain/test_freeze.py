"""Freeze windows: weekly and dated, in a place's own time, over a change of the clocks."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.freeze import FreezeWindow, find_freeze

WEEKEND = FreezeWindow(start="Fri 17:00", end="Mon 08:00", zone="Europe/Berlin")
HOLIDAYS = FreezeWindow(start="2026-12-24", end="2027-01-02 06:30", reason="holidays")


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-27T15:59", None),
        ("2026-11-27T16:00", "2026-11-30T07:00"),
        ("2026-11-30T06:59", "2026-11-30T07:00"),
        ("2026-11-30T07:00", None),
        (
            "2026-10-24T12:00",
            "2026-10-26T07:00",
        ),  # the clocks go back on Sunday: it begins in summer time and ends in winter's
    ],
)
def test_a_weekend_is_frozen_in_berlins_time(now, until):
    """From Friday 17:00 to Monday 08:00 there, whatever UTC says."""
    found = find_freeze([WEEKEND], at(now))
    assert (found and found.until) == (until and at(until))


def test_dates_hold_once_and_the_last_end_counts():
    """Of two windows in force the one that ends last is told, with its reason."""
    found = find_freeze([WEEKEND, HOLIDAYS], at("2026-12-26T12:00"))
    assert (found.until, found.why) == (at("2027-01-02T06:30"), ": holidays")
    assert find_freeze([HOLIDAYS], at("2027-12-26T12:00")) is None
    assert find_freeze([], at("2026-12-26T12:00")) is None


@given(st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)))
def test_a_freeze_ends_when_it_says(moment):
    """A second before its end it is in force, at its end it is not."""
    found = find_freeze([WEEKEND], moment.replace(tzinfo=UTC).timestamp())
    if found:
        assert find_freeze([WEEKEND], found.until - 1) == found
        assert find_freeze([WEEKEND], found.until) is None
        assert found.until - moment.replace(tzinfo=UTC).timestamp() <= timedelta(days=3).total_seconds()


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ({"start": "Fri", "end": "2026-12-24"}, "weekly or by date"),
        ({"start": "Fry 17:00", "end": "Mon"}, "like 'Fri 17:00'"),
        ({"start": "Fri 25:00", "end": "Mon"}, "like 'Fri 17:00'"),
        ({"start": "2026-13-24", "end": "2026-12-25"}, "month"),
        ({"start": "2026-12-24", "end": "2026-12-24"}, "ends after it starts"),
        ({"start": "Fri", "end": "Mon", "zone": "Berlin"}, "not 'Berlin'"),
    ],
)
def test_what_is_no_window_is_refused(window, words):
    """The message says what a window looks like."""
    with pytest.raises(ValueError, match=words):
        FreezeWindow(**window)
