"""Monitors open and close their alerts at the right units, and carry all they need as JSON."""

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from tournant.domain.alerts import AlertKind, Monitor, Severity
from tournant.domain.deployment import MonitorConfig
from tournant.domain.profile import ReferenceProfile, WindowProfile, profile_columns, profile_like
from tournant.domain.watch import (
    UnitEvidence,
    drift_severity,
    new_monitor,
    rebase,
    watch_drift,
    watch_liveness,
    watch_performance,
)

CONFIG = MonitorConfig(window=3, average_run_length=100.0)
REFERENCE = ReferenceProfile(
    model_version="m@1", unit="day", created_at=0.0, unit_losses=(0.4, 0.5, 0.6, 0.45, 0.55, 0.5, 0.4, 0.6)
)


def day(number: int, loss: float = 0.5, labelled: int = 100) -> UnitEvidence:
    """Give day `number` with a mean loss."""
    return UnitEvidence(start=number, end=number + 1, rows=100, labelled=labelled, loss_sum=loss * labelled)


def watch(monitor: Monitor, losses: list[float], reference: ReferenceProfile | None = REFERENCE) -> list[Monitor]:
    """Take days with these losses in, storing the monitor in between as JSON does."""
    seen = []
    for loss in losses:
        monitor = watch_performance(monitor, day(int(monitor.evaluated_to), loss), reference, CONFIG)
        monitor = msgspec.json.decode(msgspec.json.encode(monitor), type=Monitor)
        seen.append(monitor)
    return seen


def fresh() -> Monitor:
    return rebase(new_monitor("d", AlertKind.PERFORMANCE), "d/1", 0.0)


def test_performance_alerts_on_a_lasting_increase_and_closes_when_it_is_back() -> None:
    """Quiet at the reference level; open within two weeks of a rise; closed one window after it is over."""
    quiet = watch(fresh(), [0.5, 0.45, 0.55] * 20)
    assert {monitor.status for monitor in quiet} == {"ok"}
    risen = watch(quiet[-1], [0.75] * 14)
    assert risen[-1].status == "alert"
    assert risen[-1].limit == pytest.approx(0.51)
    back = watch(risen[-1], [0.45] * 3)
    assert [monitor.status for monitor in back] == ["alert", "alert", "ok"]
    assert watch(back[-1], [0.5])[0].status == "ok"


def test_without_a_reference_level_the_first_live_units_make_one() -> None:
    """Two windows of live units, and the reason says so."""
    seen = watch(fresh(), [0.5, 0.4, 0.6, 0.5, 0.4, 0.6, 0.5], reference=None)
    assert [monitor.status for monitor in seen] == ["waiting"] * 6 + ["ok"]
    assert "the first live units complete the reference level: 5 more" in seen[0].reason
    assert "0 reference and 6 live units" in seen[-1].reason


def test_a_new_stable_revision_starts_anew_and_is_not_judged_by_earlier_units() -> None:
    """Units before it became stable were answered by another model."""
    alerting = watch(fresh(), [0.9] * 20)[-1]
    assert alerting.status == "alert"
    based = rebase(alerting, "d/2", since=25.0)
    assert based.status == "waiting"
    assert watch(based, [0.9])[0].value is None
    assert rebase(based, "d/2", since=99.0) is based


def test_small_units_are_added_up_until_they_say_something() -> None:
    """Ten labelled rows a day: one step every second day."""
    monitor = fresh()
    values = []
    for number in range(4):
        monitor = watch_performance(monitor, day(number, 0.5, labelled=10), REFERENCE, CONFIG)
        values.append(monitor.value)
    assert values == [None, 0.5, 0.5, 0.5]
    assert monitor.state["units"] == 2


def test_performance_without_labels_says_so() -> None:
    """A day of predictions without labels is no day of good predictions."""
    monitor = watch_performance(fresh(), day(0, labelled=0), REFERENCE, CONFIG)
    assert monitor.status == "no_labels"
    assert not math.isnan(monitor.evaluated_to)


def windows(shift: float, count: int) -> tuple[list[WindowProfile], tuple[dict, ...]]:  # type: ignore[type-arg]
    rng = np.random.default_rng(0)
    rows = [{"x": rng.normal(rng.normal(0, 0.5), 1, 80)} for _ in range(12)]
    template = profile_columns({"x": np.concatenate([unit["x"] for unit in rows])})
    reference = tuple(profile_like(unit, template) for unit in rows)
    made = [
        WindowProfile(
            id=f"d/1/{number}",
            deployment="d",
            revision="d/1",
            model_version="m@1",
            unit_start=number,
            unit_end=number + 1,
            rows=80,
            columns=profile_like({"x": rng.normal(shift, 1, 80)}, template),
        )
        for number in range(count)
    ]
    return made, reference


def test_drift_opens_on_a_shift_and_closes_after_a_quiet_window() -> None:
    """One window without drift closes it, not a single unit."""
    config = replace(CONFIG, drift_alpha=0.05)
    shifted, reference = windows(4.0, 3)
    same, _ = windows(0.0, 3)
    monitor = rebase(new_monitor("d", AlertKind.DRIFT), "d/1", 0.0)
    monitor = watch_drift(monitor, 3.0, shifted, reference, config)
    assert monitor.status == "alert"
    assert monitor.reason.startswith("x (PSI")
    assert drift_severity(monitor) is Severity.WARNING
    statuses = []
    for number in range(3):
        monitor = watch_drift(monitor, 4.0 + number, same, reference, config)
        statuses.append(monitor.status)
    assert statuses == ["alert", "alert", "ok"]


def test_drift_waits_for_a_whole_window_and_for_a_reference() -> None:
    """Too little to say anything is `waiting`, with the reason."""
    made, reference = windows(4.0, 2)
    monitor = rebase(new_monitor("d", AlertKind.DRIFT), "d/1", 0.0)
    assert "2 of 3 units" in watch_drift(monitor, 2.0, made, reference, CONFIG).reason
    assert "no reference rows" in watch_drift(monitor, 2.0, made, (), CONFIG).reason
    assert watch_drift(monitor, 2.0, made, (), CONFIG).status == "waiting"


def test_liveness_notices_that_traffic_stopped_and_came_back() -> None:
    """Two empty units in a row alert; the first prediction closes."""
    monitor = new_monitor("d", AlertKind.LIVENESS)
    empty = UnitEvidence(start=1, end=2)
    one = watch_liveness(monitor, empty, CONFIG, labels_expected=False)
    two = watch_liveness(one, empty, CONFIG, labels_expected=False)
    assert (one.status, two.status) == ("ok", "alert")
    assert two.reason == "no predictions for 2 days"
    assert watch_liveness(two, day(3), CONFIG, labels_expected=False).status == "ok"


def test_liveness_misses_labels_only_where_there_are_to_be_some() -> None:
    """A deployment that never gets labels is not nagged; one that got some is, and so is one that declares them."""
    never = new_monitor("d", AlertKind.LIVENESS)
    for number in range(5):
        never = watch_liveness(never, day(number, labelled=0), CONFIG, labels_expected=False)
    assert never.status == "ok"
    stopped = watch_liveness(new_monitor("d", AlertKind.LIVENESS), day(0), CONFIG, labels_expected=False)
    for number in range(1, 3):
        stopped = watch_liveness(stopped, day(number, labelled=0), CONFIG, labels_expected=False)
    assert stopped.reason == "no labels for the predictions of 2 mature days"
    assert stopped.status == "alert"
