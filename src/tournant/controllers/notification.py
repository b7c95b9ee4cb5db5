"""The notification controller: follows the events and has a courier tell each notifier, in order and at least once."""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable

from tournant.domain.control import Event
from tournant.ports import Notifier
from tournant.services.context import Context
from tournant.services.notifications import (
    deliver_event,
    late_floor,
    list_notable_events,
    open_cursors,
    settle_event,
)

__all__ = ["NotificationController"]

LONGEST_BACKOFF_SECONDS = 300.0
GIVE_UP_SECONDS = 86_400.0  # after a failed try, an event this old is news to nobody
_log = logging.getLogger(__name__)


class NotificationController:
    """A tick only reads which events are new. Couriers tell of them, in threads of their own, so that no notifier holds up the loop.

    What was told stands in each notifier's stored cursor: after a kill, or on another leader, the rest is told.
    """

    def __init__(self, ctx: Context, *, longest_backoff_seconds: float = LONGEST_BACKOFF_SECONDS) -> None:
        """Tell the notifiers of `ctx`."""
        self._ctx = ctx
        self._couriers = [Courier(ctx, notifier, longest_backoff_seconds) for notifier in ctx.notifiers]
        self._floor = ""  # of the next look; empty before the first
        self._seen: frozenset[str] = frozenset()  # ids from there on

    def tick(self) -> bool:
        """Hand what is new to the couriers; nothing that another controller sees changes by that."""
        if not self._couriers:
            return False
        if not self._floor:
            self._floor = min(cursor.floor for cursor in open_cursors(self._ctx))
        floor = late_floor()
        events = list_notable_events(self._ctx, self._floor)
        new = [event for event in events if event.id not in self._seen]
        self._floor = max(self._floor, floor)
        self._seen = frozenset(event.id for event in events if event.id >= self._floor)
        if new:
            for courier in self._couriers:
                courier.take(new)
        return False

    def busy(self) -> bool:
        """A replay does not wait until people have been told."""
        return False

    def stop(self, timeout_seconds: float) -> None:
        """Let each courier end the message it is at, which is told again if that takes longer."""
        deadline = time.monotonic() + timeout_seconds
        for courier in self._couriers:
            courier.stop()
        for courier in self._couriers:
            courier.join(max(deadline - time.monotonic(), 0.0))


class Courier:
    """Tells one notifier of one event after another; one that fails is tried again, less and less often, and then the next."""

    def __init__(self, ctx: Context, notifier: Notifier, longest_backoff_seconds: float) -> None:
        """Tell `notifier`."""
        self._ctx = ctx
        self._notifier = notifier
        self._longest_backoff_seconds = longest_backoff_seconds
        self._waiting: deque[Event] = deque()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self, events: Iterable[Event]) -> None:
        """Queue events; a thread works while there are any."""
        with self._lock:
            self._waiting.extend(events)
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._work, name=f"courier {self._notifier.name}", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Start no other message."""
        self._stopping.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the message under way."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_seconds)

    def _work(self) -> None:
        while event := self._next():
            self._deliver(event)

    def _next(self) -> Event | None:
        """Take the next event, or end the thread; under the lock, so that `take` never leaves an event to a thread that ends."""
        with self._lock:
            if self._waiting and not self._stopping.is_set():
                return self._waiting.popleft()
            self._thread = None
            return None

    def _deliver(self, event: Event) -> None:
        wait = min(1.0, self._longest_backoff_seconds)
        while not self._stopping.is_set():
            try:
                self._tell(event)
                return
            except Exception as exc:  # whatever a notifier or the database does, the others and the loop go on
                words = "%s was not told of %s of %s; next try in %.0f s: %s"
                _log.warning(words, self._notifier.name, event.kind, event.subject, wait, exc)
                self._stopping.wait(wait)
                wait = min(2 * wait, self._longest_backoff_seconds)

    def _tell(self, event: Event) -> None:
        try:
            deliver_event(self._ctx, self._notifier, event)
        except Exception as exc:
            if time.time() - event.recorded_at < GIVE_UP_SECONDS:
                raise
            _log.error("%s is not told of %s of %s: %s", self._notifier.name, event.kind, event.subject, exc)
            settle_event(self._ctx, self._notifier, event)
