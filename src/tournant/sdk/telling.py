"""Tells a person at a terminal how a replay goes."""

import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime

from tournant.domain.control import Event
from tournant.sdk.client import Client
from tournant.sdk.replay import DayResult

__all__ = ["Teller"]

TOLD = (
    "alert.",
    "rollout.promoted",
    "rollout.failed",
    "rollout.inconclusive",
    "rollout.aborted",
    "rollout.started",
    "retraining.started",
    "retraining.froze_dataset",
    "retraining.passed_gate",
    "retraining.rejected",
    "retraining.failed",
    "retraining.restarted",
)
_WIDTH = 130


class Teller:
    """Says each event that matters as it happens, and keeps one line of progress (on a terminal only)."""

    def __init__(self, client: Client, say: Callable[[str], None], *, days: int) -> None:
        """Ask `client` for events; `days` is how many there will be."""
        self._client, self._say, self._days = client, say, days
        self._seen: set[str] = set()
        self._requests = self._failed = self._over = self._day = 0
        self._terminal = sys.stderr.isatty()

    def tell(self, day: DayResult) -> None:
        """Tell one more day."""
        self._day += 1
        self._requests += day.requests
        self._failed += day.failed
        self._over += day.over_budget
        if day.failure:
            self._clear()
            self._say(f"{day.date}  FAILED  {day.failure}")
        for event in self._news():
            self._clear()
            self._say(
                f"{_date(event.time)}  {event.kind:<24} {textwrap.shorten(event.summary, _WIDTH, placeholder=' …')}"
            )
        if self._terminal:
            done = round(30 * self._day / self._days)
            bar = "█" * done + "░" * (30 - done)
            sys.stderr.write(
                f"\r{bar} {day.date}  {self._requests:,} requests, {self._failed} failed, {self._over} over budget"
            )
            sys.stderr.flush()

    def finish(self) -> None:
        """Leave the line of progress."""
        self._clear()

    def _news(self) -> list[Event]:
        newest: list[Event] = self._client.events.list(limit=50)
        news = [event for event in reversed(newest) if event.id not in self._seen]
        self._seen.update(event.id for event in news)
        return [event for event in news if event.kind.startswith(TOLD)]

    def _clear(self) -> None:
        if self._terminal:
            sys.stderr.write("\r\033[K")


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
