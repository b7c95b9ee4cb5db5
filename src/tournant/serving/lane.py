"""One worker of a replica: takes batches from the replica's queue, and is started again when it dies or hangs."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from tournant.errors import TournantError
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.jobs import Job, JobQueue, fail, spread
from tournant.serving.outputs import Score
from tournant.serving.schema import Values
from tournant.serving.worker_process import WorkerModel, WorkerProcess, columns_of

__all__ = ["Lane", "next_pause"]

LOAD_SECONDS = 120.0
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
LIVED = 10.0  # times the last pause: who lived so long has no reason to wait longer


class Lane:
    """Keeps one worker running, and serves from a queue that others may serve from too. Belongs to the event loop."""

    def __init__(self, model: WorkerModel, queue: JobQueue) -> None:
        """Prepare; `start` loads."""
        self._model = model
        self._queue = queue
        self._worker: WorkerProcess | None = None
        self._runner: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process that serves now; 0 while there is none."""
        return self._worker.pid if self._worker else 0

    async def start(self) -> None:
        """Start the worker and load the model; Invalid if it does not load."""
        self._worker = await self._new()
        self._runner = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the worker."""
        if self._runner:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        if self._worker:
            await self._worker.end()

    async def _run(self) -> None:
        ready, pause = time.monotonic(), 0.0
        while True:
            if self._worker and self._worker.ended:  # while it had nothing to do
                await self._drop()
            if self._worker is None:
                pause = next_pause(pause, time.monotonic() - ready)
                await asyncio.sleep(pause)
                await self._restart()
                ready = time.monotonic()
                continue
            batch = await self._queue.take()
            if batch:
                await self._serve(batch)

    async def _serve(self, batch: list[Job]) -> None:
        try:
            scores = await self._ask([row for job in batch for row in job.rows])
        except WorkerLost as exc:
            await self._drop()
            self._queue.give_back(batch, exc)
        except ModelFailed as exc:
            if len(batch) == 1:
                fail(batch[0], exc)
                return
            for index, job in enumerate(batch):  # one bad row must not fail its neighbours
                if self._worker is None:
                    self._queue.put_back(batch[index:])
                    return
                await self._serve([job])
        else:
            spread(batch, scores)

    async def _ask(self, rows: list[Values]) -> Sequence[Score]:
        assert self._worker
        patience = self._queue.patience
        limit_seconds = patience.seconds(len(rows))
        began = time.monotonic()
        try:
            async with asyncio.timeout(limit_seconds):
                scores, own_seconds = await self._worker.predict(columns_of(self._model.signature, rows), len(rows))
        except TimeoutError as exc:
            patience.tried()
            raise WorkerLost(f"the worker gave no answer for {limit_seconds:.1f} s and was ended") from exc
        self._queue.ran(len(rows), own_seconds, time.monotonic() - began)
        return scores

    async def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            await worker.end()

    async def _restart(self) -> None:
        self.restarts += 1
        with contextlib.suppress(TournantError):  # tried again after a longer pause; the worker's log says why
            self._worker = await self._new()

    async def _new(self) -> WorkerProcess:
        return await WorkerProcess.start(self._model, LOAD_SECONDS, ended=self._queue.wake)


def next_pause(before: float, lived: float) -> float:
    """Give the pause before a worker is started again: longer each time it lives for little only, so that a model that ends its worker at once does not take a core.

    >>> [next_pause(0.0, 0.0), next_pause(0.1, 0.5), next_pause(0.2, 3.0), next_pause(8.0, 20.0)]
    [0.1, 0.2, 0.1, 10.0]
    """
    if lived > LIVED * before:
        return FIRST_BACKOFF_SECONDS
    return min(max(2 * before, FIRST_BACKOFF_SECONDS), LONGEST_BACKOFF_SECONDS)
