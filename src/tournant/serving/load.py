"""How loaded the event loop is: requests that would wait too long for it are refused at once."""

import asyncio
import time
from collections import deque

__all__ = ["LoopLoad"]

TICK_SECONDS = 0.01
TICKS = 4  # that must all be late before anybody is refused
SHARE = 0.7  # of the SLO: the rest is for what comes after the wait, and for what the estimate misses
LASTING_SHARE = 0.25  # of the SLO, where a deployment's requests have been refused for long: it is a bound for who came first, and what is to come may be a pause
LASTING_SECONDS = 0.05  # what piled up behind a pause is let in: a load that is more than that is soon one that lasts
WAYS = 2  # that a request waits for the event loop: to be taken to a worker, and to be told its answer
CALM = 0.1  # of the SLO: a turn that takes no more is no sign of a lasting load
BURST_SHARE = 0.8  # of the SLO, where there was none: what piled up behind a pause of the machine's is soon worked off
QUIET_SECONDS = 0.2  # without a refusal, and it is over
TELLING = 8  # requests in a turn, from which on it tells what one costs
LEARNED = 0.1  # of what a turn tells
SURPRISE = 2.0  # times the usual cost: more in one turn is the machine's doing
REFUSAL = 0.2  # of what an answer costs


class LoopLoad:
    """Estimates how long a request has waited when the event loop comes to look at it.

    What the loop finds to be read at once, it reads in one turn, and answers most of it on the way. So a request has waited
    for those before it in its turn, and it may have come when the turn before had just begun: as many requests, times what
    one usually costs of this thread's CPU, whenever it does, those that were refused for less. Counted are requests and not
    time, so that a pause which is the machine's doing refuses nobody; but where others have been refused for a while, the
    time that passed since the turn before began is what counts.

    What else makes the loop late shows in how late it comes to what is due.
    """

    def __init__(self) -> None:
        """Know of no load."""
        self._lag_seconds = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._late: deque[float] = deque([0.0] * TICKS, maxlen=TICKS)
        self._turning = False
        self._ended_at = 0.0
        self._began_at = 0.0
        self._came_from = 0.0  # the earliest that what is read in this turn can have come
        self._spent_seconds = 0.0
        self._asked = self._asked_before = self._asked_earlier = 0.0  # in answers' worth
        self._cost_ms = 0.1
        self._refused = False
        self._refusals: dict[str, tuple[float, float]] = {}  # by deployment: since when, and the last
        self.refusing = False  # somebody was refused in this turn or the last

    def start(self) -> None:
        """Begin to measure, on the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + TICK_SECONDS
        self._handle = self._loop.call_at(self._due, self._tick)

    def stop(self) -> None:
        """Measure no more."""
        if self._handle:
            self._handle.cancel()

    def arrived(self) -> None:
        """Note that there is something to be read; the first such begins a turn."""
        self._asked += 1
        if self._turning:
            return
        self._turning = True
        now = time.perf_counter()
        self._came_from, self._began_at = self._began_at, now
        if (now - self._ended_at) * 1e3 > self._asked_before * self._cost_ms:
            self._asked_before = self._asked_earlier = 0.0  # nobody can have waited since then
            self._came_from = now

    def too_long_ms(self, slo_ms: float, model_ms: float = 0.0, *, lasting: bool = False) -> float:
        """Give how long is too long, if a request has to wait for longer now, here and then for the model; else 0."""
        lag_ms = self._lag_seconds * 1e3
        if lasting:
            # By the clock, whatever took the time: where there is always too much to do, nothing makes up for it.
            loop_ms = (time.perf_counter() - self._came_from) * 1e3 if self._turning else lag_ms
            share, waits = LASTING_SHARE, loop_ms + model_ms
        elif lag_ms + model_ms > SHARE * slo_ms:
            share, waits = SHARE, lag_ms + model_ms
        else:  # not added up: who is under way to a worker was counted in a turn, too
            share = BURST_SHARE if self._asked_earlier * self._cost_ms <= CALM * slo_ms else SHARE
            waits = (self._asked + self._asked_before) * self._cost_ms if self._turning else 0.0
        return share * slo_ms if waits > share * slo_ms else 0.0

    @property
    def each_seconds(self) -> float:
        """What a request waits for this thread, for each that is under way to a worker or back."""
        return self._cost_ms * WAYS / 1e3

    def lasting(self, deployment: str) -> bool:
        """Tell whether a deployment's requests have been refused for a while; where its model waits in batches, not in every turn."""
        since, last = self._refusals.get(deployment, (0.0, 0.0))
        return last - since >= LASTING_SECONDS and time.perf_counter() - last < QUIET_SECONDS

    def refused(self, deployment: str) -> None:
        """Note that a request is refused: it costs little, and others may be, too."""
        now = time.perf_counter()
        since, last = self._refusals.get(deployment, (now, now))
        self._refusals[deployment] = (now if now - last > QUIET_SECONDS else since, now)
        self._refused = self.refusing = True
        if self._turning:
            self._asked -= 1 - REFUSAL

    def turned(self) -> None:
        """Note that all that was to be read is read, and answered as far as it need not wait."""
        self._turning = False
        self.refusing, self._refused = self._refused, False
        self._ended_at = time.perf_counter()
        spent_seconds = time.thread_time()  # with what came of earlier requests since the last turn
        if self._asked >= TELLING:
            cost_ms = min((spent_seconds - self._spent_seconds) * 1e3 / self._asked, SURPRISE * self._cost_ms)
            self._cost_ms += LEARNED * (cost_ms - self._cost_ms)
        self._spent_seconds = spent_seconds
        self._asked_earlier, self._asked_before, self._asked = self._asked_before, self._asked, 0.0

    def _tick(self) -> None:
        now = self._loop.time()
        self._late.append(now - self._due)
        self._lag_seconds = min(self._late)  # late once may be the machine's doing
        self._due = now + TICK_SECONDS
        self._handle = self._loop.call_at(self._due, self._tick)
