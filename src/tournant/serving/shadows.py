"""Shadows: revisions that see real requests and are recorded, but never answer. They run after the answer was sent."""

import asyncio
import time
from collections import deque
from typing import NamedTuple

from tournant.serving.counters import Counters
from tournant.serving.endpoint import Arm, Endpoint
from tournant.serving.failures import DeadlinePassed
from tournant.serving.held import Outcome
from tournant.serving.outputs import headline
from tournant.serving.schema import Values
from tournant.serving.spool import Record, Spool

__all__ = ["Shadowed", "Shadows"]

GATHER_SECONDS = 0.004  # a few requests in one run cost a third of one by one
BATCH_ROWS = 32
WORKER_BATCH_ROWS = 8  # each of its rows waits for all of them, as it would if it were answered
TIMEOUT_SECONDS = 30.0
LIMIT_ROWS = 10_000


class Shadowed(NamedTuple):
    """One answered row, waiting for one shadow."""

    arm: Arm
    endpoint: Endpoint
    values: Values
    prediction_id: str
    key: str
    entity: str | None
    event_time: float
    answered: float
    queued_at: float  # monotonic


class Shadows:
    """Bounded queues, one a revision. Belongs to the event loop."""

    def __init__(self, counters: Counters, spool: Spool, *, limit_rows: int = LIMIT_ROWS) -> None:
        """Count in `counters`, record in `spool`; hold at most `limit_rows` rows a revision."""
        self._counters = counters
        self._spool = spool
        self._limit_rows = limit_rows
        self._queues: dict[str, deque[Shadowed]] = {}
        self._scheduled: set[str] = set()
        self._working: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self.dropped = 0

    def waiting(self) -> dict[str, tuple[int, float]]:
        """Give for each shadow the rows that wait for it, and for how many seconds the first has."""
        now = time.monotonic()
        return {name: (len(q), now - q[0].queued_at if q else 0.0) for name, q in self._queues.items()}

    def put(self, item: Shadowed) -> None:
        """Queue a row, or count it as dropped when the shadow is too far behind."""
        name = item.arm.held.id
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = deque()
        if len(queue) >= self._limit_rows:
            self.dropped += 1
            return
        item.arm.held.in_flight += 1  # it may not be unloaded before
        queue.append(item)
        if name not in self._scheduled:
            self._scheduled.add(name)
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._start, name)

    async def drain(self) -> None:
        """Return when every row queued so far has run and is recorded."""
        await asyncio.gather(*(self._work(name) for name in list(self._queues)))
        while self._running or any(self._queues.values()):
            await asyncio.sleep(0.001)

    def _start(self, name: str) -> None:
        task = asyncio.ensure_future(self._work(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._scheduled.discard(name)

    async def _work(self, name: str) -> None:
        if name in self._working:  # one batch at a time: waiting for another would count as the shadow's latency
            return
        self._working.add(name)
        try:
            await self._empty(self._queues[name])
        finally:
            self._working.discard(name)

    async def _empty(self, queue: deque[Shadowed]) -> None:
        while queue:
            batch = [queue.popleft()]
            most = BATCH_ROWS if batch[0].arm.held.predictor.inline else WORKER_BATCH_ROWS
            while queue and queue[0].arm is batch[0].arm and len(batch) < most:
                batch.append(queue.popleft())
            self._running += 1
            try:
                await self._run(batch)
            finally:
                self._running -= 1
                batch[0].arm.held.in_flight -= len(batch)
            await asyncio.sleep(0)  # real requests go first

    async def _run(self, batch: list[Shadowed]) -> None:
        held = batch[0].arm.held
        outcome = await held.ask([item.values for item in batch], TIMEOUT_SECONDS)
        if outcome.error and len(batch) > 1:  # one bad row must not spoil the others' evidence
            for item in batch:
                self._note(item, 0, await held.ask([item.values], TIMEOUT_SECONDS), 1)
            return
        # A row in a worker waits for its whole batch, as it would if it were answered from it.
        factor = 1 if held.predictor.inline else len(batch)
        for index, item in enumerate(batch):
            self._note(item, index, outcome, factor)

    def _note(self, item: Shadowed, index: int, outcome: Outcome, factor: int) -> None:
        latency_ms = outcome.latency_ms * factor
        cell = self._counters.cell(item.arm.told, item.event_time)
        score = scores = error = None
        if outcome.scores is None:
            error = str(outcome.error)
            if isinstance(outcome.error, DeadlinePassed):
                cell.late(latency_ms, fallback=False)
            else:
                cell.failed(latency_ms, item.endpoint.slo_ms, fallback=False)
        else:
            value = outcome.scores[index]
            score, scores = headline(value), value if isinstance(value, list) else None
            cell.answered(latency_ms, item.endpoint.slo_ms)
            cell.scored(score)
            cell.paired(score - item.answered)
        told = item.arm.told
        log = item.endpoint.log
        if not log.keeps(item.prediction_id):
            return
        self._spool.append(
            log.header,
            Record(
                item.prediction_id,
                item.key,
                log.entity(item.entity),
                item.event_time,
                told.revision,
                told.role,
                told.rollout,
                told.epoch,
                score,
                scores,
                error,
                latency_ms,
                False,  # noqa: FBT003 - a field of the record
                None,
            ),
        )
