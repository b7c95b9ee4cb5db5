"""Which events people are told of, in which words, and the cursor by which each is told once."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.domain.control import Event
from tournant.domain.notifications import LATE_SECONDS, NOTABLE, NotificationCursor, compose
from tournant.domain.rollout import Phase, Rollout, RolloutStrategy

ROLLOUT = Rollout(
    id="r",
    deployment="flights",
    revision="flights/2",
    stable="flights/1",
    strategy=RolloutStrategy(),
    phase=Phase.ABORTED,
    started_at=0.0,
    step_started_at=0.0,
)
ALERT = Alert(
    id="a",
    deployment="flights",
    monitor="flights/performance",
    kind=AlertKind.PERFORMANCE,
    severity=Severity.CRITICAL,
    state=AlertState.CLOSED,
    opened_at=0.0,
)


def event(kind: str, *, milliseconds: int = 0, **data: object) -> Event:
    identity = f"{milliseconds:012x}{kind.encode().hex():0<20}"
    return Event(
        id=identity,
        time=1_356_998_400.0,
        recorded_at=milliseconds / 1000,
        kind=kind,
        subject="deployment/flights",
        actor="ada",
        summary="the error rate is too high",
        data=data,
    )


def test_a_message_says_what_happened_by_whom_and_when() -> None:
    """The title names the deployment, the text gives the event's own words."""
    message = compose(event("rollout.failed"), ROLLOUT)
    assert message
    assert message.title == "flights: rollout failed"
    assert message.text == "the error rate is too high\n\nby ada, 2013-01-01 00:00 UTC"


def test_an_alert_is_as_severe_when_it_opens_as_it_says_and_good_news_when_it_closes() -> None:
    """Closing a critical alert pages nobody."""
    opened, closed = compose(event("alert.opened"), ALERT), compose(event("alert.closed"), ALERT)
    assert opened and closed
    assert (opened.severity, closed.severity) == (Severity.CRITICAL, Severity.INFO)


@pytest.mark.parametrize("kind", ["run.created", "rollout.advanced", "rollout.started", "labels.unmatched"])
def test_everyday_events_are_told_to_nobody(kind: str) -> None:
    """They are for the audit log."""
    assert compose(event(kind), None) is None


def test_a_superseded_rollout_is_not_told() -> None:
    """Its successor's end is."""
    assert compose(event("rollout.aborted"), ROLLOUT)
    assert compose(event("rollout.aborted"), replace(ROLLOUT, superseded_by="flights/3")) is None


def test_a_challenger_that_passed_is_told_only_where_somebody_must_approve_it() -> None:
    """With automatic approval its rollout's end is the news."""
    assert compose(event("retraining.passed_gate", state="rolling_out"), None) is None
    message = compose(event("retraining.passed_gate", state="awaiting_approval"), None)
    assert message and message.title == "flights: retraining waits for approval"


@given(st.lists(st.integers(0, int(LATE_SECONDS * 1000)), min_size=1, max_size=20, unique=True), st.randoms())
def test_every_event_is_told_once_in_whatever_order_they_are_committed(times: list[int], dice: object) -> None:
    """As long as none is later than the cursor allows."""
    kinds = list(NOTABLE)
    events = [event(kinds[at % len(kinds)], milliseconds=1_000_000 + at) for at in times]
    cursor = NotificationCursor(notifier="log", floor="")
    told = []
    for each in [*events, *reversed(events)]:
        if not cursor.knows(each):
            told.append(each)
            cursor = cursor.after(each)
    assert told == events


def test_a_cursor_forgets_what_is_settled_anyway() -> None:
    """It stays small however many events come."""
    cursor = NotificationCursor(notifier="log", floor="")
    for seconds in range(1000):
        cursor = cursor.after(event("rollout.failed", milliseconds=seconds * 1000))
    assert len(cursor.told) <= LATE_SECONDS + 1
