"""The lockstep replay: business time moves only when everything that follows from the old time has happened."""

import threading
import time
from collections.abc import Callable
from typing import Protocol

from tournant.domain.control import ClockState, GatewayState
from tournant.errors import Invalid, Unavailable
from tournant.services.context import Context
from tournant.services.gateways import live_gateways

__all__ = ["LockstepReplay", "SettableClock"]

GATEWAY_SECONDS = 60.0  # how long a gateway may take to flush
QUIET_SECONDS = 540.0  # how long controllers may take, trainings included


class SettableClock(Protocol):
    """A clock that a replay drives."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def set(self, now: float) -> None:
        """Stand at `now`."""
        ...


class LockstepReplay:
    """Advances: set the clock and raise the barrier, let gateways flush, tick controllers until quiet."""

    def __init__(
        self, ctx: Context, clock: SettableClock, *, changed: Callable[[], None], settle: Callable[[float], None]
    ) -> None:
        """Drive `clock`; `changed` wakes waiting gateways, `settle(timeout)` ticks controllers until they are quiet."""
        self._ctx = ctx
        self._clock = clock
        self._changed = changed
        self._settle = settle
        self._one_at_a_time = threading.Lock()

    def advance(self, now: float) -> None:
        """Set business time to `now`, which may not be before the present business time of a replay."""
        with self._one_at_a_time:
            barrier = self._raise_barrier(now)
            self._changed()
            self._await_gateways(barrier)
            self._settle(QUIET_SECONDS)

    def _raise_barrier(self, now: float) -> int:
        with self._ctx.transactions.begin() as uow:
            state = uow.get(ClockState, "replay", lock=True)
            if state and now < state.now:
                raise Invalid(f"a replay's clock does not go back: it is at {state.now}, not {now}", place="now")
            barrier = state.barrier + 1 if state else 1
            uow.save(ClockState(name="replay", now=now, barrier=barrier))
        self._clock.set(now)
        return barrier

    def _await_gateways(self, barrier: int) -> None:
        deadline = time.monotonic() + GATEWAY_SECONDS
        while behind := self._behind(barrier):
            if time.monotonic() > deadline:
                names = ", ".join(gateway.id for gateway in behind)
                raise Unavailable(f"gateway {names} did not flush within {GATEWAY_SECONDS:.0f} s; see its log")
            time.sleep(0.002)

    def _behind(self, barrier: int) -> list[GatewayState]:
        return [gateway for gateway in live_gateways(self._ctx) if gateway.barrier < barrier]
