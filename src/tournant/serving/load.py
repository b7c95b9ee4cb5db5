"""How loaded the event loop is: requests that would wait too long for it are refused at once."""

import asyncio
from collections import deque

from tournant.errors import Overloaded

__all__ = ["LoopLoad"]

TICK_SECONDS = 0.01
TICKS = 4  # that must all be late before anybody is refused
SHARE = 0.5  # of the SLO: the other half is for what comes after the wait


class LoopLoad:
    """Measures how late the event loop comes to what is due: that is how long a request waits before it is looked at."""

    def __init__(self) -> None:
        """Know of no load."""
        self.lag_seconds = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._late: deque[float] = deque([0.0] * TICKS, maxlen=TICKS)

    def start(self) -> None:
        """Begin to measure, on the running event loop."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + TICK_SECONDS
        self._handle = loop.call_at(self._due, self._tick, loop)

    def stop(self) -> None:
        """Measure no more."""
        if self._handle:
            self._handle.cancel()

    def admit(self, slo_ms: float) -> None:
        """Overloaded if waiting alone takes more than half of a deployment's SLO now."""
        if self.lag_seconds * 1e3 > SHARE * slo_ms:
            lag, share = self.lag_seconds * 1e3, SHARE * slo_ms
            raise Overloaded(f"overloaded: requests wait {lag:.0f} ms, and may wait {share:.0f} ms; try again later")

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._late.append(now - self._due)
        self.lag_seconds = min(self._late)  # late once may be the machine's doing
        self._due = now + TICK_SECONDS
        self._handle = loop.call_at(self._due, self._tick, loop)
