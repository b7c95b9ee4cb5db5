"""The control loop: ticks controllers, live by itself, in a replay in lockstep."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tournant.controllers.lease import LEASE_SECONDS, Leadership
from tournant.domain.control import ClockState
from tournant.errors import Unavailable
from tournant.services.context import Context

__all__ = ["ControlLoop", "Controller"]

TICK_SECONDS = 1.0  # live: how often controllers look by themselves
BUSY_SECONDS = 0.02  # lockstep: how often they look while work goes on in real time
_RETRIES = 3  # lockstep: a controller with more errors than this in a row is not waited for
_log = logging.getLogger(__name__)


class Controller(Protocol):
    """Brings the state of something nearer to what is wanted, one idempotent tick at a time."""

    def tick(self) -> bool:
        """Do what is to be done now, and tell whether anything changed."""
        ...

    def busy(self) -> bool:
        """Tell whether work goes on in real time (a gateway loads, a job runs) that a replay must wait for."""
        ...


@dataclass(slots=True)
class _Health:
    """A controller's errors in a row, and when (monotonic) it is tried again."""

    errors: int = 0
    retry_at: float = 0.0


class ControlLoop:
    """Ticks controllers in one thread while this process holds the lease. A broken one backs off and stops no other.

    In a replay the thread leaves everything to `tick_until_quiet`: a tick between two advances would see half a day.
    """

    def __init__(
        self,
        ctx: Context,
        controllers: Mapping[str, Controller],
        *,
        on_change: Callable[[], None] = lambda: None,
        lease_seconds: float = LEASE_SECONDS,
        longest_backoff_seconds: float = 60.0,
    ) -> None:
        """Tick `controllers` by name, in order; `on_change` is told when any of them changed something."""
        self._longest_backoff_seconds = longest_backoff_seconds
        self._ctx = ctx
        self._controllers = dict(controllers)
        self._health = {name: _Health() for name in controllers}
        self._on_change = on_change
        self._leadership = Leadership(ctx, seconds=lease_seconds)
        self._lease_seconds = lease_seconds
        self._one_at_a_time = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Tick live, in a thread; another keeps the lease, however long a tick takes."""
        self._stopping.clear()
        for work in (self._run, self._keep_lease):
            thread = threading.Thread(target=work, name=f"controllers{work.__name__}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout_seconds: float = 5.0) -> None:
        """Stop after the present tick, also of a replay, and hand the lease on."""
        self._stopping.set()
        self._wake.set()
        if self._one_at_a_time.acquire(timeout=timeout_seconds):
            self._one_at_a_time.release()
        for thread in self._threads:
            thread.join(timeout_seconds)
        self._threads.clear()
        self._leadership.release()

    def poke(self) -> None:
        """Tick soon: something changed."""
        self._wake.set()

    def tick_until_quiet(self, timeout_seconds: float) -> None:
        """Tick until no controller changes anything and none is busy; Unavailable when that takes too long, or we stop."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            if self._stopping.is_set():
                raise Unavailable("the control plane is stopping: advance again when it is back")
            # Asked before the tick: work that ends in between is seen by this tick or the next, never by none.
            busy = self._busy()
            if self._leadership.hold():
                changed = self._tick_all()
                if not changed and not busy and not self._retrying():
                    return
                if changed:
                    continue
            if time.monotonic() > deadline:
                names = ", ".join(busy) or "the lease"
                raise Unavailable(f"controllers are not quiet after {timeout_seconds:g} s (waiting for: {names})")
            time.sleep(BUSY_SECONDS)

    def _busy(self) -> list[str]:
        busy = [name for name, controller in self._controllers.items() if self._guarded(name, controller.busy)]
        return busy or self._retrying()

    def _retrying(self) -> list[str]:
        return [name for name, health in self._health.items() if 0 < health.errors <= _RETRIES]

    def _tick_all(self) -> bool:
        with self._one_at_a_time:
            if self._stopping.is_set():
                return False
            changed = [self._guarded(name, controller.tick) for name, controller in self._controllers.items()]
        if any(changed):
            self._on_change()
        return any(changed)

    def _guarded(self, name: str, work: Callable[[], bool]) -> bool:
        health = self._health[name]
        if time.monotonic() < health.retry_at:
            return False
        try:
            done = work()
        except Exception:
            health.errors += 1
            wait = min(2.0 ** (health.errors - 1), self._longest_backoff_seconds)
            health.retry_at = time.monotonic() + wait
            _log.exception("controller %s failed (%d in a row); next try in %.0f s", name, health.errors, wait)
            return False
        if work.__name__ == "tick":
            health.errors = 0
        return done

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if not self._tick_live():
                self._wake.wait(TICK_SECONDS)

    def _tick_live(self) -> bool:
        """Tick once, unless another leads or a replay drives; true when there may be more to do at once."""
        try:
            return self._leadership.hold() and not self._in_replay() and self._tick_all()
        except Exception:  # the database itself does not answer
            _log.exception("the control loop cannot reach its database; next try in %.0f s", TICK_SECONDS)
            return False

    def _in_replay(self) -> bool:
        with self._ctx.transactions.begin(write=False) as uow:
            return uow.get(ClockState, "replay") is not None

    def _keep_lease(self) -> None:
        while not self._stopping.wait(self._lease_seconds / 4):
            try:
                self._leadership.hold()
            except Exception:
                _log.exception("the lease cannot be renewed")
