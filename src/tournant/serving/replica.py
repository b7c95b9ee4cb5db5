"""A model in a worker process: batches what is queued while the worker is busy, restarts it when it dies or hangs."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tournant.errors import TournantError
from tournant.serving.batch_cost import BatchCost
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.metrics import BATCH_BOUNDS, Histogram, Sample
from tournant.serving.outputs import Score
from tournant.serving.schema import Values
from tournant.serving.worker_process import WorkerModel, WorkerProcess, columns_of

__all__ = ["Replica"]

BATCH_ROWS = 256
LOAD_SECONDS = 120.0
HANG_SECONDS = 10.0
FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 10.0
STEADY_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Job:
    rows: Sequence[Values]
    answer: asyncio.Future[Sequence[Score]]
    tries: int = 0


class Replica:
    """Keeps one worker of a model running. Belongs to the event loop.

    Requests that come while the worker is busy go to it together, so a batch is as large as the load makes it. A batch
    that the model refuses is tried again one by one; a request whose worker died is tried once more on the next one.
    """

    mode = "worker"
    inline = False

    def __init__(self, model: WorkerModel, *, hang_seconds: float = HANG_SECONDS) -> None:
        """Prepare; `start` loads. A worker that keeps a batch longer than `hang_seconds` is killed."""
        self._model = model
        self._hang_seconds = hang_seconds
        self._queue: deque[_Job] = deque()
        self._arrived = asyncio.Event()
        self._worker: WorkerProcess | None = None
        self._runner: asyncio.Task[None] | None = None
        self._batches = Histogram(BATCH_BOUNDS)
        self._cost = BatchCost()
        self._queued_rows = 0
        self.restarts = 0

    @property
    def pid(self) -> int:
        """The process that serves now; 0 while there is none."""
        return self._worker.pid if self._worker else 0

    async def start(self) -> None:
        """Start the worker and load the model; Invalid if it does not load."""
        self._worker = await WorkerProcess.start(self._model, LOAD_SECONDS)
        self._runner = asyncio.create_task(self._run())

    async def predict(self, rows: Sequence[Values]) -> Sequence[Score]:
        """Queue rows and wait for their scores."""
        job = _Job(rows, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._queued_rows += len(rows)
        self._arrived.set()
        return await job.answer

    def wait_seconds(self) -> float:
        """Estimate what the rows that are queued add to the wait."""
        return self._queued_rows * self._cost.row_seconds

    def samples(self, revision: str) -> Iterator[Sample]:
        """Give its queue, its batches and its restarts."""
        yield Sample.one("tournant_queue_rows", self._queued_rows, revision=revision)
        yield Sample.one("tournant_worker_restarts_total", self.restarts, revision=revision)
        yield from self._batches.samples("tournant_batch_rows", revision=revision)

    async def close(self) -> None:
        """End the worker; what is still queued fails."""
        if self._runner:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        if self._worker:
            await self._worker.end()
        for job in self._queue:
            _fail(job, WorkerLost("the revision was unloaded"))

    async def _run(self) -> None:
        started, backoff = time.monotonic(), FIRST_BACKOFF_SECONDS
        while True:
            if self._worker is None:
                if time.monotonic() - started > STEADY_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)
                started = time.monotonic()
                await self._restart()
                continue
            await self._arrived.wait()
            self._arrived.clear()
            while self._queue and self._worker:
                await self._serve(self._take())

    def _take(self) -> list[_Job]:
        """Give what is queued, up to a batch; those whose asker has gone are left out."""
        batch: list[_Job] = []
        rows = 0
        while self._queue and (not batch or rows + len(self._queue[0].rows) <= BATCH_ROWS):
            job = self._queue.popleft()
            self._queued_rows -= len(job.rows)
            if not job.answer.done():
                batch.append(job)
                rows += len(job.rows)
        return batch

    async def _serve(self, batch: list[_Job]) -> None:
        if not batch:
            return
        try:
            scores = await self._ask([row for job in batch for row in job.rows])
        except WorkerLost as exc:
            await self._lose(batch, exc)
        except ModelFailed as exc:
            if len(batch) == 1:
                _fail(batch[0], exc)
                return
            for job in batch:  # one bad row must not fail its neighbours
                if self._worker:
                    await self._serve([job])
                else:
                    self._queue.append(job)
                    self._queued_rows += len(job.rows)
        else:
            _spread(batch, scores)

    async def _ask(self, rows: list[Values]) -> Sequence[Score]:
        assert self._worker
        self._batches.note(len(rows))
        began = time.monotonic()
        scores = await self._exchange(rows)
        self._cost.note(len(rows), time.monotonic() - began)
        return scores

    async def _exchange(self, rows: list[Values]) -> Sequence[Score]:
        assert self._worker
        try:
            async with asyncio.timeout(self._hang_seconds + 0.01 * len(rows)):
                return await self._worker.predict(columns_of(self._model.signature, rows), len(rows))
        except TimeoutError as exc:
            raise WorkerLost(f"the worker gave no answer for {self._hang_seconds:.0f} s and was ended") from exc

    async def _lose(self, batch: list[_Job], cause: WorkerLost) -> None:
        worker, self._worker = self._worker, None
        if worker:
            await worker.end()
        for job in reversed(batch):
            job.tries += 1
            if job.tries > 1:
                _fail(job, cause)
            else:
                self._queue.appendleft(job)
                self._queued_rows += len(job.rows)
        self._arrived.set()

    async def _restart(self) -> None:
        self.restarts += 1
        with contextlib.suppress(TournantError):  # tried again after a longer pause; the worker's log says why
            self._worker = await WorkerProcess.start(self._model, LOAD_SECONDS)
            self._arrived.set()


def _spread(batch: list[_Job], scores: Sequence[Score]) -> None:
    """Give each job its part; too few or too many scores are each job's failure."""
    wanted = sum(len(job.rows) for job in batch)
    if not isinstance(scores, list) or len(scores) != wanted:
        for job in batch:
            _fail(job, ModelFailed(f"the model gave not one prediction a row for {wanted} rows"))
        return
    start = 0
    for job in batch:
        end = start + len(job.rows)
        if not job.answer.done():
            job.answer.set_result(scores[start:end])
        start = end


def _fail(job: _Job, error: ModelFailed) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
