"""Business time: the wall clock, or a replay's."""

import time

__all__ = ["BusinessClock"]


class BusinessClock:
    """Gives the wall clock until it is set; from then on it stands still between sets, as a lockstep replay needs."""

    def __init__(self, now: float | None = None) -> None:
        """Follow the wall clock, or stand at `now` (seconds since the epoch)."""
        self._now = now

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time() if self._now is None else self._now

    def set(self, now: float) -> None:
        """Stand at `now`."""
        self._now = now
