"""How fast a model answers while it has something to do."""

import math
import time

__all__ = ["Pace"]

RECENT_SECONDS = 0.25
FEW = 16  # requests under way, that are let in whatever the pace: with one at a time no other would ever be seen


class Pace:
    """Measures what one request that is under way adds to the wait of those behind it: the busy time between two answers.

    By Little's law requests under way, times that, is how long each of them takes. It holds whatever the time goes to: the
    model, its worker's core, an event loop that has much to refuse. Older answers count for less, by a factor of e each
    `RECENT_SECONDS`.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._busy_seconds = self._answers = self._since = 0.0

    @property
    def seconds(self) -> float:
        """From one answer to the next, recently; 0 where there was none."""
        return self._busy_seconds / self._answers if self._answers else 0.0

    def wait_seconds(self, under_way: int) -> float:
        """Estimate how long one takes that comes behind `under_way` others; 0 where they are few."""
        return under_way * self.seconds if under_way > FEW else 0.0

    def begin(self) -> None:
        """Note that there is something to do again."""
        self._since = time.perf_counter()

    def answered(self) -> None:
        """Note an answer."""
        now = time.perf_counter()
        spent_seconds = min(now - self._since, RECENT_SECONDS)  # longer was an outage, not a load
        self._since = now
        kept = math.exp(-spent_seconds / RECENT_SECONDS)
        self._busy_seconds = kept * self._busy_seconds + spent_seconds
        self._answers = kept * self._answers + 1
