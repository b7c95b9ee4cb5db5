"""Alerts: what a monitor found, with state."""

from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Alert", "AlertKind", "AlertState", "Monitor", "Severity"]


class AlertKind(StrEnum):
    """What kind of change an alert is about."""

    PERFORMANCE = "performance"
    ESTIMATED_PERFORMANCE = "estimated_performance"
    DRIFT = "drift"
    DATA_QUALITY = "data_quality"
    LIVENESS = "liveness"


class AlertState(StrEnum):
    """Whether the change lasts."""

    OPEN = "open"
    CLOSED = "closed"


class Severity(StrEnum):
    """What an alert asks of people: page, warn, or just inform."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """One watched quantity of a deployment and the state its detector carries from unit to unit.

    `id` is `deployment/kind`. `state` holds the detector's sufficient statistics as plain JSON values; `value` and
    `limit` are the last unit's, for people; `evaluated_to` is the end of the last unit taken in.
    """

    id: str
    deployment: str
    kind: AlertKind
    status: str = "waiting"  # "waiting", "ok", "alert", "no_labels"
    evaluated_to: float = 0.0
    value: float | None = None
    limit: float | None = None
    reason: str = ""
    state: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One episode of a monitor being out of its limit."""

    id: str
    deployment: str
    monitor: str
    kind: AlertKind
    severity: Severity
    state: AlertState
    opened_at: float
    closed_at: float | None = None
    value: float | None = None
    limit: float | None = None
    unit: str = "day"
    summary: str = ""
    details: dict[str, object] = field(default_factory=dict)
    retraining: str = ""
