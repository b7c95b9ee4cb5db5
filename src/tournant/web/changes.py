"""Wakes those who wait for the metadata to change."""

import asyncio
import threading

__all__ = ["Changes"]

LOOK_SECONDS = 0.25  # how often a waiter looks by itself: another process may have changed something


class Changes:
    """Counts changes made in this process; any thread pokes, coroutines wait."""

    def __init__(self) -> None:
        """Start at zero, with nobody waiting."""
        self.count = 0
        self._lock = threading.Lock()
        self._waiters: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def poke(self) -> None:
        """Say that something changed."""
        with self._lock:
            self.count += 1
            waiters = list(self._waiters.items())
        for event, loop in waiters:
            loop.call_soon_threadsafe(event.set)

    async def wait(self, seen: int, timeout_seconds: float) -> None:
        """Return after a change later than `seen`, or when it is time to look anyway."""
        event = asyncio.Event()
        with self._lock:
            if self.count != seen:
                return
            self._waiters[event] = asyncio.get_running_loop()
        try:
            await asyncio.wait_for(event.wait(), min(timeout_seconds, LOOK_SECONDS))
        except TimeoutError:
            pass
        finally:
            with self._lock:
                del self._waiters[event]
