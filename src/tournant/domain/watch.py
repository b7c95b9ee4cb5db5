"""What monitors conclude from each new unit of evidence: pure steps from one Monitor record to the next.

`Monitor.status` is `waiting`, `no_labels`, `ok` or `alert`; the alert itself opens and closes as that changes. All state is
in `Monitor.state`, as JSON values, so a monitor goes on after a restart exactly where it was.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tournant.domain.alerts import AlertKind, Monitor, Severity
from tournant.domain.deployment import MonitorConfig
from tournant.domain.drift import DriftResult, detect_drift
from tournant.domain.profile import ColumnProfile, ReferenceProfile, WindowProfile, merge_profiles
from tournant.domain.sequential import MeanDetector, detector_value, is_alarmed, update

__all__ = [
    "MINIMUM_LABELLED",
    "MINIMUM_ROWS",
    "UnitEvidence",
    "drift_severity",
    "new_monitor",
    "rebase",
    "reference_detector",
    "watch_drift",
    "watch_liveness",
    "watch_performance",
]

MINIMUM_LABELLED = 20  # units with fewer labelled rows are added up until they have as many
MINIMUM_ROWS = 50  # a drift window of fewer rows says nothing
_REPORTED_COLUMNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEvidence:
    """What one unit showed of a deployment; `loss_sum` is over the `labelled` answers of stable and canary.

    `units` is above 1 for a stretch of units without any traffic.
    """

    start: float
    end: float
    rows: int = 0
    labelled: int = 0
    loss_sum: float = 0.0
    units: int = 1


def rebase(monitor: Monitor, stable: str, since: float) -> Monitor:
    """Start a performance or drift monitor anew when another revision became stable at `since`; keep it otherwise."""
    if monitor.state.get("stable") == stable:
        return monitor
    reason = f"{stable} became stable"
    return replace(
        monitor, status="waiting", value=None, limit=None, reason=reason, state={"stable": stable, "since": since}
    )


def watch_performance(
    monitor: Monitor, evidence: UnitEvidence, reference: ReferenceProfile | None, config: MonitorConfig
) -> Monitor:
    """Take one unit's realised loss in.

    The reference level is the mean loss a unit on rows the model did not learn from, raised by `minimum_increase`.
    Where there are fewer than two windows of such units, the first live units complete them. The alert closes when
    the last window's mean is back at the level; the detector then starts anew.
    """
    monitor = replace(monitor, evaluated_to=evidence.end)
    state = dict(monitor.state)
    if evidence.start < _number(state, "since"):
        return monitor
    carried = _floats(state, "carried") or [0.0, 0.0]
    total, labelled = carried[0] + evidence.loss_sum, carried[1] + evidence.labelled
    if labelled < MINIMUM_LABELLED:
        status = "no_labels" if monitor.status != "alert" and not evidence.labelled else monitor.status
        return replace(monitor, status=status, state={**state, "carried": [total, labelled]})
    return _take_loss(monitor, {**state, "carried": [0.0, 0.0]}, total / labelled, reference, config)


def _take_loss(
    monitor: Monitor, state: dict[str, object], loss: float, reference: ReferenceProfile | None, config: MonitorConfig
) -> Monitor:
    own = list(reference.unit_losses) if reference else []
    live = _floats(state, "live_reference")
    missing = 2 * config.window - len(own) - len(live)
    if missing > 0:
        state["live_reference"] = [*live, loss]
        reason = f"the first live units complete the reference level: {missing - 1} more to go"
        return replace(monitor, status="waiting", value=loss, reason=reason, state=state)
    fresh = reference_detector([*own, *live], config)
    detector = update(_carried_detector(state, fresh), loss)
    recent = [*_floats(state, "recent"), loss][-config.window :]
    mean = sum(recent) / len(recent)
    source = f"{len(own)} reference and {len(live)} live units" if live else f"{len(own)} reference units"
    status = _performance_status(monitor.status, detector, recent, config)
    if monitor.status == "alert" and status == "ok":
        detector = fresh
    state |= {"recent": recent, "log_values": _json(detector.log_values), "units": detector.units}
    state |= {"evidence": round(detector_value(detector), 3), "deviation": detector.deviation}
    reason = (
        f"mean {config.metric} of the last {len(recent)} units {mean:.4g}; the reference level is {fresh.mean:.4g} ({source}); "
        f"evidence {detector_value(detector):.3g} of {config.average_run_length:g}"
    )
    return replace(monitor, status=status, value=mean, limit=fresh.mean, reason=reason, state=state)


def _performance_status(status: str, detector: MeanDetector, recent: Sequence[float], config: MonitorConfig) -> str:
    if status != "alert":
        return "alert" if is_alarmed(detector) else "ok"
    back = len(recent) >= config.window and sum(recent) / len(recent) <= detector.mean
    return "ok" if back else "alert"


def reference_detector(losses: Sequence[float], config: MonitorConfig) -> MeanDetector:
    """Make the detector of an increase over reference units' losses.

    Few units tell their deviation badly, and one too small alarms too often: it is taken at the upper end of its
    one-sided 75 % confidence interval (chi-squared).

    >>> detector = reference_detector([0.4, 0.5, 0.6] * 5, MonitorConfig(minimum_increase=0.01))
    >>> round(detector.mean, 3), round(detector.deviation, 3)
    (0.51, 0.099)
    """
    values = np.asarray(losses, dtype=np.float64)
    mean, freedom = float(values.mean()), len(values) - 1
    deviation = float(values.std(ddof=1)) if freedom > 0 else 0.0
    if freedom > 0:
        from scipy.special import gammaincinv  # start-up time: a tenth of a server's

        deviation *= math.sqrt(freedom / (2 * float(gammaincinv(freedom / 2, 0.25))))
    return MeanDetector(
        mean=mean + config.minimum_increase,
        deviation=max(deviation, 0.01 * abs(mean), 1e-9),
        average_run_length=config.average_run_length,
    )


def watch_drift(
    monitor: Monitor,
    end: float,
    windows: Sequence[WindowProfile],
    reference: Sequence[Mapping[str, ColumnProfile]],
    config: MonitorConfig,
) -> Monitor:
    """Compare the last window of the stable revision's profiles (units since it became stable) with its reference.

    The alert closes after as many units without drift as a window has.
    """
    monitor = replace(monitor, evaluated_to=end)
    if not reference:
        return replace(
            monitor, reason="the model version has no reference rows, and live ones are still being gathered"
        )
    current = [window for window in windows if window.columns][-config.window :]
    if len(current) < config.window or sum(window.rows for window in current) < MINIMUM_ROWS:
        reason = f"{len(current)} of {config.window} units since {monitor.state.get('stable')} became stable"
        return replace(monitor, reason=reason)
    found = detect_drift(
        reference,
        merge_profiles([window.columns for window in current]),
        units=config.window,
        alpha=config.drift_alpha,
        floor=config.drift_psi,
    )
    return _take_drift(monitor, found, config)


def _take_drift(monitor: Monitor, found: DriftResult, config: MonitorConfig) -> Monitor:
    quiet = 0 if found.drifted else int(_number(monitor.state, "quiet")) + 1
    if monitor.status == "alert":
        status = "ok" if quiet >= config.window else "alert"
    else:
        status = "alert" if found.drifted else "ok"
    top = [
        {
            "column": c.column,
            "psi": round(c.psi, 4),
            "p_value": c.p_value,
            "drifted": c.drifted,
            "shift": c.shift,
        }
        for c in found.columns[:_REPORTED_COLUMNS]
    ]
    names = ", ".join(f"{c.column} (PSI {c.psi:.2f}; {c.shift})" for c in found.drifted[:3])
    more = f" and {len(found.drifted) - 3} more" if len(found.drifted) > 3 else ""
    reason = f"{names}{more} moved" if names else "no column moved surely and far"
    return replace(
        monitor,
        status=status,
        value=found.columns[0].psi if found.columns else None,
        limit=config.drift_psi,
        reason=f"{reason} ({found.reason})",
        state={**monitor.state, "quiet": quiet, "columns": top, "drifted": len(found.drifted)},
    )


def drift_severity(monitor: Monitor) -> Severity:
    """Say how loud a drift alert is: a warning when three columns moved, or one by far; else it informs."""
    far = monitor.value is not None and monitor.limit is not None and monitor.value >= 2.5 * monitor.limit
    return Severity.WARNING if far or _number(monitor.state, "drifted") >= 3 else Severity.INFO


def watch_liveness(
    monitor: Monitor, evidence: UnitEvidence, config: MonitorConfig, *, labels_expected: bool
) -> Monitor:
    """Notice that traffic or labels stopped for `liveness_units` units in a row.

    Labels are missed where they are expected, or once there were some.
    """
    state = dict(monitor.state)
    state.pop("failure", None)
    empty = int(_number(state, "empty")) + evidence.units if not evidence.rows else 0
    seen = bool(state.get("labels_seen")) or evidence.labelled > 0
    misses = evidence.rows > 0 and not evidence.labelled and (seen or labels_expected)
    unlabelled = int(_number(state, "unlabelled")) + 1 if misses else 0
    if not evidence.rows:
        unlabelled = int(_number(state, "unlabelled"))  # no traffic says nothing of labels
    state |= {"empty": empty, "unlabelled": unlabelled, "labels_seen": seen}
    if empty >= config.liveness_units:
        reason = f"no predictions for {empty} {config.unit}s"
    elif unlabelled >= config.liveness_units:
        reason = f"no labels for the predictions of {unlabelled} mature {config.unit}s"
    else:
        reason = ""
    return replace(
        monitor,
        evaluated_to=evidence.end,
        status="alert" if reason else "ok",
        value=float(max(empty, unlabelled)),
        limit=config.liveness_units,
        reason=reason
        or f"{evidence.rows} predictions, {evidence.labelled} of them labelled, in the last {config.unit}",
        state=state,
    )


def new_monitor(deployment: str, kind: AlertKind) -> Monitor:
    """Give a monitor that has seen nothing yet."""
    return Monitor(id=f"{deployment}/{kind.value}", deployment=deployment, kind=kind)


def _carried_detector(state: Mapping[str, object], fresh: MeanDetector) -> MeanDetector:
    stored: Any = state.get("log_values")
    if not stored or len(stored) != len(fresh.log_values):
        return fresh
    values = tuple(-math.inf if value is None else float(value) for value in stored)
    return replace(fresh, log_values=values, units=int(_number(state, "units")))


def _json(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def _floats(state: Mapping[str, object], name: str) -> list[float]:
    values: Any = state.get(name) or []
    return [float(value) for value in values]


def _number(state: Mapping[str, object], name: str) -> float:
    value: Any = state.get(name) or 0.0
    return float(value)
