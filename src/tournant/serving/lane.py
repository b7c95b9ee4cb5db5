"""One worker of a replica: takes batches from the replica's queue, and is started again when it dies or hangs."""

import asyncio
import contextlib
import time
from collections import deque

from tournant.errors import TournantError
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.jobs import Job, JobQueue, fail, spread
from tournant.serving.worker_process import Ran, WorkerModel, WorkerProcess, columns_of

__all__ = ["Lane", "next_pause"]

LOAD_SECONDS = 120.0
LATE_SECONDS = 0.05  # of the event loop, when a batch's time is up
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
LIVED = 10.0  # times the last pause: who lived so long has no reason to wait longer


class Lane:
    """Keeps one worker running, and serves from a queue that others may serve from too. Belongs to the event loop.

    A batch is sent, and its answers are handed on, where the event loop tells of what allows it: in a task of its own, each
    would wait for one more turn of a loop that has much to do.
    """

    def __init__(self, model: WorkerModel, queue: JobQueue) -> None:
        """Prepare; `start` loads."""
        self._model = model
        self._queue = queue
        self._worker: WorkerProcess | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._leaving: WorkerProcess | None = None
        self._batch: list[Job] = []  # with the worker
        self._singly: deque[Job] = deque()  # of a batch that the model refused
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process that serves now; 0 while there is none."""
        return self._worker.pid if self._worker else 0

    async def start(self) -> None:
        """Start the worker and load the model; Invalid if it does not load."""
        self._worker = await self._new()
        self._keeper = asyncio.create_task(self._keep())
        self._next()

    async def close(self) -> None:
        """End the worker; what it had is queued again."""
        if self._keeper:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._queue.put_back(self._drop())
        await self._part()

    async def _keep(self) -> None:
        """Start another worker whenever one is gone."""
        ready, pause = time.monotonic(), 0.0
        while True:
            await self._gone.wait()
            self._gone.clear()
            await self._part()
            while self._worker is None:
                pause = next_pause(pause, time.monotonic() - ready)
                await asyncio.sleep(pause)
                await self._restart()
                ready = time.monotonic()
            self._next()

    def _next(self) -> None:
        """Give the worker something to do, if it is idle."""
        if self._worker is None or self._batch:
            return
        batch = [self._singly.popleft()] if self._singly else self._queue.take(self._next)
        if not batch:
            return
        rows = [row for job in batch for row in job.rows]
        self._batch, self._sent_at = batch, time.monotonic()
        limit_seconds = self._queue.patience.seconds(len(rows))
        self._watch(limit_seconds, limit_seconds)
        self._worker.predict(columns_of(self._model.signature, rows), len(rows), self._told)

    def _told(self, outcome: Ran | ModelFailed) -> None:
        """Take what the worker says of its batch. The next is sent first: it works while answers are handed on."""
        batch, self._batch = self._batch, []
        if self._timer:
            self._timer.cancel()
        if isinstance(outcome, Ran):
            rows = sum(len(job.rows) for job in batch)
            self._queue.ran(rows, outcome.seconds, time.monotonic() - self._sent_at)
        elif len(batch) > 1:
            self._singly.extend(batch)  # one bad row must not fail its neighbours
        self._next()
        if isinstance(outcome, Ran):
            spread(batch, outcome.scores)
        elif len(batch) == 1:
            fail(batch[0], outcome)

    def _watch(self, seconds: float, limit_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._timer = loop.call_at(due, self._hung, due, limit_seconds)

    def _hung(self, due: float, limit_seconds: float) -> None:
        if asyncio.get_running_loop().time() - due > LATE_SECONDS:  # what the worker said meanwhile is not read yet
            self._watch(LATE_SECONDS, limit_seconds)
            return
        self._queue.patience.tried()
        self._lose(WorkerLost(f"the worker gave no answer for {limit_seconds:.1f} s and was ended"))

    def _lose(self, cause: WorkerLost) -> None:
        """Let a worker go that died or hangs; others, or the next one, get what it had."""
        batch = self._drop()
        self._queue.give_back(batch, cause)

    def _drop(self) -> list[Job]:
        """Let the worker go; give the batch it had."""
        batch, self._batch = self._batch, []
        if self._timer:
            self._timer.cancel()
        self._queue.leave(self._next)
        self._queue.put_back(self._singly)
        self._singly.clear()
        worker, self._worker = self._worker, None
        if worker:
            worker.kill()
            self._leaving = worker
            self._gone.set()
        return batch

    async def _part(self) -> None:
        leaving, self._leaving = self._leaving, None
        if leaving:
            await leaving.end()

    async def _restart(self) -> None:
        self.restarts += 1
        with contextlib.suppress(TournantError):  # tried again after a longer pause; the worker's log says why
            self._worker = await self._new()

    async def _new(self) -> WorkerProcess:
        return await WorkerProcess.start(self._model, LOAD_SECONDS, lost=self._lose)


def next_pause(before: float, lived: float) -> float:
    """Give the pause before a worker is started again: longer each time it lives for little only, so that a model that ends its worker at once does not take a core.

    >>> [next_pause(0.0, 0.0), next_pause(0.1, 0.5), next_pause(0.2, 3.0), next_pause(8.0, 20.0)]
    [0.1, 0.2, 0.1, 10.0]
    """
    if lived > LIVED * before:
        return FIRST_BACKOFF_SECONDS
    return min(max(2 * before, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
