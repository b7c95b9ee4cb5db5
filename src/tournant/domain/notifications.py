"""Notifications: which events people want to hear of, in which words, and how far a notifier has been told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from tournant.domain.alerts import Alert, Severity
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.retraining import Retraining, RetrainingState
from tournant.domain.rollout import Rollout

__all__ = ["LATE_SECONDS", "NOTABLE", "Message", "NotificationCursor", "Record", "compose"]

Record = Alert | Rollout | Retraining | Deployment

LATE_SECONDS = 60.0  # ids are given before the commit: how much later an event may come than one with a later id

# kind: (severity, in words); an alert that opens has its own severity
NOTABLE: Mapping[str, tuple[Severity, str]] = MappingProxyType(
    {
        "alert.opened": (Severity.WARNING, "alert opened"),
        "alert.closed": (Severity.INFO, "alert closed"),
        "rollout.promoted": (Severity.INFO, "promoted"),
        "rollout.failed": (Severity.WARNING, "rollout failed"),
        "rollout.inconclusive": (Severity.WARNING, "rollout ended without a verdict"),
        "rollout.aborted": (Severity.INFO, "rollout aborted"),
        "rollout.waits": (Severity.INFO, "rollout waits for approval"),
        "deployment.rolled_back": (Severity.WARNING, "rolled back"),
        "model.alias_asked": (Severity.INFO, "alias waits for approval"),
        "retraining.passed_gate": (Severity.INFO, "retraining waits for approval"),
        "retraining.rejected": (Severity.INFO, "challenger rejected"),
        "retraining.failed": (Severity.WARNING, "retraining failed"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event that people are told of, with the record it is about as that is when they are told."""

    event: Event
    severity: Severity
    title: str
    record: Record | None = None

    @property
    def text(self) -> str:
        """What happened, who or what did it, and when."""
        when = datetime.fromtimestamp(self.event.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return f"{self.event.summary}\n\nby {self.event.actor}, {when}"


def compose(event: Event, record: Record | None) -> Message | None:
    """Word an event; None when nobody needs to hear of it.

    That is: other kinds, a rollout that a newer revision superseded (they hear of that one's end), and a challenger that
    passed the gate and goes on by itself.
    """
    if event.kind not in NOTABLE or (isinstance(record, Rollout) and record.superseded_by):
        return None
    if event.kind == "retraining.passed_gate" and event.data.get("state") != RetrainingState.AWAITING_APPROVAL:
        return None
    severity, words = NOTABLE[event.kind]
    if event.kind == "alert.opened" and isinstance(record, Alert):
        severity = record.severity
    return Message(event=event, severity=severity, title=f"{event.subject.partition('/')[2]}: {words}", record=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationCursor:
    """How far one notifier has been told.

    Every event with an id before `floor` is settled, and so are those in `told`. Ids sort by the time they were given,
    which is before the commit, so the floor stays `LATE_SECONDS` behind the newest event told.
    """

    notifier: str
    floor: str
    told: tuple[str, ...] = ()

    def knows(self, event: Event) -> bool:
        """Whether the notifier was told of an event, or is not to be."""
        return event.id < self.floor or event.id in self.told

    def after(self, event: Event) -> "NotificationCursor":
        """Give the cursor with one more event settled.

        >>> from tournant.domain.control import Event
        >>> def event(milliseconds):
        ...     id = f"{milliseconds:012x}{0:020x}"
        ...     return Event(id=id, time=0.0, recorded_at=0.0, kind="", subject="", actor="", summary="")
        >>> cursor = NotificationCursor(notifier="log", floor="").after(event(100_000)).after(event(99_000))
        >>> [cursor.knows(event(at)) for at in (39_000, 99_000, 99_001, 100_000)]
        [True, True, False, True]
        >>> len(cursor.after(event(170_000)).told)
        1
        """
        given = int(event.id[:12], 16) - round(LATE_SECONDS * 1000)
        floor = max(self.floor, f"{max(given, 0):012x}")
        told = (*self.told, event.id) if not self.knows(event) else self.told
        return replace(self, floor=floor, told=tuple(each for each in told if each >= floor))
