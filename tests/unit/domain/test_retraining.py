"""When a retraining is due, and how time is split for it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tournant.domain.alerts import Alert, AlertKind, AlertState, Severity
from tournant.domain.retraining import (
    Retraining,
    RetrainingPolicy,
    RetrainingState,
    Trigger,
    decide_trigger,
    plan_window,
)

DAY = 86_400.0
POLICY = RetrainingPolicy(dataset="flights", triggers=("performance", "drift"), cooldown_seconds=14 * DAY)


def alert(kind: AlertKind = AlertKind.PERFORMANCE, opened_at: float = 90 * DAY) -> Alert:
    return Alert(
        id=f"alert-{kind}",
        deployment="flights",
        monitor=f"flights/{kind}",
        kind=kind,
        severity=Severity.CRITICAL,
        state=AlertState.OPEN,
        opened_at=opened_at,
        summary="loss is up by 0.04",
    )


def retraining(state: RetrainingState = RetrainingState.PROMOTED, ended_at: float | None = 80 * DAY) -> Retraining:
    return Retraining(
        id="r1",
        deployment="flights",
        model="flights",
        state=state,
        trigger="performance",
        reason="",
        started_at=70 * DAY,
        ended_at=ended_at,
    )


def decide(
    policy: RetrainingPolicy = POLICY,
    *alerts: Alert,
    now: float = 100 * DAY,
    last: Retraining | None = None,
    rows: int = 0,
    recent: int = 0,
    stable_since: float = 0.0,
) -> Trigger | None:
    return decide_trigger(
        policy,
        now=now,
        stable_since=stable_since,
        open_alerts=alerts,
        last_retraining=last,
        labelled_rows_since=rows,
        recent_retrainings=recent,
    )


def test_nothing_open_and_nothing_scheduled_means_no_retraining() -> None:
    """No trigger, no retraining."""
    assert decide() is None


def test_an_open_alert_of_a_named_kind_triggers_with_its_reason() -> None:
    """The trigger says which alert and what it found."""
    trigger = decide(POLICY, alert())
    assert trigger == Trigger(
        kind="performance", reason="a performance alert opened: loss is up by 0.04", alert="alert-performance"
    )


def test_alerts_of_other_kinds_do_not_trigger() -> None:
    """A liveness alert has no bearing on what a new model would learn."""
    assert decide(POLICY, alert(AlertKind.LIVENESS)) is None


def test_the_policy_orders_the_kinds() -> None:
    """The kind named first is the reason given, whichever opened first."""
    trigger = decide(POLICY, alert(AlertKind.DRIFT, 50 * DAY), alert(AlertKind.PERFORMANCE, 99 * DAY))
    assert trigger and trigger.kind == "performance"


@pytest.mark.parametrize("state", [state for state in RetrainingState if not state.final])
def test_one_retraining_at_a_time(state: RetrainingState) -> None:
    """While one runs, waits or rolls out, there is no second."""
    assert decide(POLICY, alert(), last=retraining(state, None)) is None


@pytest.mark.parametrize("state", [state for state in RetrainingState if state.final])
def test_the_cooldown_counts_from_the_end_of_the_last(state: RetrainingState) -> None:
    """Whatever became of the last retraining, an open alert waits for the cool-down to pass."""
    assert decide(POLICY, alert(), now=94 * DAY - 1, last=retraining(state)) is None
    assert decide(POLICY, alert(), now=94 * DAY, last=retraining(state)) is not None


def test_an_alert_still_open_asks_again_after_the_cooldown() -> None:
    """The reason says that the last retraining did not close it."""
    trigger = decide(POLICY, alert(opened_at=60 * DAY), last=retraining(RetrainingState.REJECTED))
    assert trigger and "still open after the last retraining, which was rejected" in trigger.reason


def test_the_budget_bounds_retrainings() -> None:
    """As many as the budget allows, then none."""
    policy = replace(POLICY, budget=3)
    assert decide(policy, alert(), recent=2) is not None
    assert decide(policy, alert(), recent=3) is None


def test_the_schedule_counts_from_the_later_of_stable_and_last_retraining() -> None:
    """A model deployed by hand last week is not retrained because the last retraining is old."""
    policy = replace(POLICY, schedule_seconds=30 * DAY)
    assert decide(policy, now=29 * DAY) is None
    assert decide(policy, now=30 * DAY) == Trigger(
        kind="schedule", reason="30.0 days since the stable revision was made; the schedule is every 30 days"
    )
    assert decide(policy, now=99 * DAY, last=retraining()) is None
    assert decide(policy, now=100 * DAY, last=retraining()) is not None
    assert decide(policy, now=100 * DAY, last=retraining(), stable_since=75 * DAY) is None


def test_enough_new_labelled_rows_trigger() -> None:
    """The count and the wish are in the reason."""
    policy = replace(POLICY, new_rows=5_000)
    assert decide(policy, rows=4_999) is None
    assert decide(policy, rows=5_000) == Trigger(
        kind="new_rows", reason="5,000 new labelled rows; the policy asks for 5,000"
    )


@given(
    now=st.floats(0, 4e9),
    maturity=st.floats(0, 90 * DAY),
    units=st.integers(1, 60),
    unit=st.sampled_from([3_600.0, DAY]),
)
def test_the_gate_holds_back_whole_mature_units(now: float, maturity: float, units: int, unit: float) -> None:
    """Whatever the time: borders lie on units, all labels are mature, and no mature unit is left out."""
    policy = replace(POLICY, gate_units=units)
    window = plan_window(policy, now=now, unit_seconds=unit, maturity_seconds=maturity)
    assert window.cut % unit == window.end % unit == 0
    assert window.end - window.cut == units * unit
    assert window.end + maturity <= now + 1e-6 < window.end + maturity + unit + 1e-3


def test_a_sliding_window_forgets() -> None:
    """It begins `window_seconds` before the cut, an expanding one at the beginning."""
    sliding = replace(POLICY, window="sliding", window_seconds=60 * DAY)
    window = plan_window(sliding, now=100 * DAY, unit_seconds=DAY, maturity_seconds=DAY)
    assert (window.start, window.cut, window.end) == (25 * DAY, 85 * DAY, 99 * DAY)
    assert plan_window(POLICY, now=100 * DAY, unit_seconds=DAY, maturity_seconds=DAY).start == float("-inf")
