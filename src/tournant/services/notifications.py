"""Notifications: the events people are yet to be told of, how far each notifier has been told, and trying them out."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tournant.domain.alerts import Alert, Severity
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.notifications import LATE_SECONDS, NOTABLE, Message, NotificationCursor, Record, compose
from tournant.domain.retraining import Retraining
from tournant.domain.rollout import Rollout
from tournant.ports import Notifier, UnitOfWork
from tournant.services.context import Context, id_at

__all__ = [
    "NotifierTest",
    "deliver_event",
    "late_floor",
    "list_notable_events",
    "open_cursors",
    "settle_event",
    "test_notifiers",
]

_KINDS: dict[str, type[Any]] = {"alert": Alert, "rollout": Rollout, "retraining": Retraining}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifierTest:
    """Whether a notifier took a test message; `problem` is empty if it did."""

    notifier: str
    problem: str = ""


def open_cursors(ctx: Context) -> list[NotificationCursor]:
    """Give every notifier's cursor: a new notifier is told from now on, one that is gone is forgotten."""
    names = [notifier.name for notifier in ctx.notifiers]
    with ctx.transactions.begin() as uow:
        known = {cursor.notifier: cursor for cursor in uow.find(NotificationCursor)}
        for name in known.keys() - set(names):
            uow.remove(NotificationCursor, notifier=name)
        new = [NotificationCursor(notifier=name, floor=id_at(time.time())) for name in names if name not in known]
        if new:
            uow.save(*new)
    return [*(cursor for name, cursor in known.items() if name in names), *new]


def late_floor() -> str:
    """Give the id before which no event is committed any more."""
    return id_at(time.time() - LATE_SECONDS)


def list_notable_events(ctx: Context, floor: str) -> list[Event]:
    """List the events from an id on that people may want to hear of, in the order they happened."""
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(Event, id__ge=floor, kind__in=NOTABLE, order="recorded_at,id")


def deliver_event(ctx: Context, notifier: Notifier, event: Event) -> None:
    """Tell a notifier of an event, unless it was told or nobody needs to hear of it; it is told outside of any transaction."""
    with ctx.transactions.begin(write=False) as uow:
        cursor = uow.get(NotificationCursor, notifier.name)
        message = compose(event, _find_record(uow, event))
    if cursor and cursor.knows(event):
        return
    if message is not None:
        notifier.notify(message)
    settle_event(ctx, notifier, event)


def settle_event(ctx: Context, notifier: Notifier, event: Event) -> None:
    """Note that a notifier is not to be told of an event any more."""
    with ctx.transactions.begin() as uow:
        cursor = uow.get(NotificationCursor, notifier.name, lock=True)
        cursor = cursor or NotificationCursor(notifier=notifier.name, floor=event.id)
        uow.save(cursor.after(event))


def _find_record(uow: UnitOfWork, event: Event) -> Record | None:
    noun = event.kind.partition(".")[0]
    if noun == "deployment":
        return uow.get(Deployment, event.subject.partition("/")[2])
    record: Record | None = uow.get(_KINDS[noun], event.data[noun]) if noun in event.data else None
    return record


def test_notifiers(ctx: Context) -> list[NotifierTest]:
    """Send a test message through every notifier, all at once, and give what each said."""
    event = ctx.event("notifier.tested", "notifier/all", "If you can read this, tournant's notifications reach you.")
    message = Message(event=event, severity=Severity.INFO, title="tournant: a test")
    with ThreadPoolExecutor(max(len(ctx.notifiers), 1)) as pool:
        problems: Iterable[str] = pool.map(lambda notifier: _try(notifier, message), ctx.notifiers)
        return [
            NotifierTest(notifier=notifier.name, problem=problem)
            for notifier, problem in zip(ctx.notifiers, problems, strict=True)
        ]


def _try(notifier: Notifier, message: Message) -> str:
    try:
        notifier.notify(message)
    except Exception as exc:  # whatever a notifier does, the others are tried too
        return str(exc) or type(exc).__name__
    return ""
