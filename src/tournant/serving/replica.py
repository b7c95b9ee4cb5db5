"""A model in worker processes: one queue, one or several workers that serve it in batches."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from tournant.serving.jobs import Job, JobQueue
from tournant.serving.lane import Lane
from tournant.serving.metrics import Sample
from tournant.serving.outputs import Score
from tournant.serving.patience import LONGEST_SECONDS, Patience
from tournant.serving.schema import Values
from tournant.serving.together import Later
from tournant.serving.worker_process import WorkerModel

__all__ = ["Replica"]

RECOVERY = 2.0  # times as long as there was no worker: what piled up is worked off then, at two thirds of the capacity
HELD_UP_ROWS = 4096  # that may wait for want of a worker; beyond, they count as any that are queued


class Replica:
    """Keeps a model's workers running. Belongs to the event loop.

    Requests that come while every worker is busy go to the next free one together, so a batch is as large as the load
    makes it. A batch that the model refuses is tried again one by one; a request whose worker died or hung is tried once
    more on the next one.
    """

    mode = "worker"
    inline = False

    def __init__(self, model: WorkerModel, *, workers: int = 1, hang_seconds: float = LONGEST_SECONDS) -> None:
        """Prepare; `start` loads. A worker that keeps a batch longer than `hang_seconds`, or much longer than usual, is killed."""
        self._queue = JobQueue(Patience(hang_seconds))
        self._lanes = [Lane(model, self._queue) for _ in range(workers)]
        self._waiting: set[Job] = set()
        self._held_up: set[Job] = set()
        self._held_up_rows = self._rows = 0
        self._none_since = self._recovered_at = 0.0

    @property
    def pids(self) -> tuple[int, ...]:
        """The processes that serve now."""
        return tuple(lane.pid for lane in self._lanes if lane.pid)

    @property
    def restarts(self) -> int:
        """How often a worker was started again."""
        return sum(lane.restarts for lane in self._lanes)

    async def start(self) -> None:
        """Start the workers and load the model; Invalid if it does not load."""
        try:
            await asyncio.gather(*(lane.start() for lane in self._lanes))
        except BaseException:
            await self.close()
            raise

    async def predict(self, rows: Sequence[Values]) -> Sequence[Score]:
        """Queue rows and wait for their scores."""
        job = Job(rows, Later(loop=asyncio.get_running_loop()))
        if self._recovering():
            self._hold_up(job)
        self._queue.put(job)
        self._waiting.add(job)
        self._rows += len(rows)
        try:
            return await job.answer
        finally:
            self._waiting.discard(job)
            self._rows -= len(rows)
            if job in self._held_up:
                self._held_up.discard(job)
                self._held_up_rows -= len(rows)

    @property
    def held_up(self) -> int:
        """How many requests wait for want of a worker."""
        self._recovering()
        return len(self._held_up)

    def wait_seconds(self) -> float:
        """Estimate what the rows that are queued, or with a worker, add to the wait.

        Those that piled up for want of a worker are left out: it soon works them off, in large batches. Whoever is refused
        for them would be back before it has.
        """
        self._recovering()
        return (self._rows - self._held_up_rows) * self._queue.cost.row_seconds / len(self._lanes)

    def _recovering(self) -> bool:
        """Whether there is no worker, or what came while there was none is still worked off: whoever waited comes, too."""
        now = time.monotonic()
        if not any(lane.pid for lane in self._lanes):
            if not self._none_since:
                self._none_since = now
                for job in self._waiting:  # what the last one had, and what was to be its next batch
                    self._hold_up(job)
            return True
        if self._none_since:
            self._recovered_at, self._none_since = now + RECOVERY * (now - self._none_since), 0.0
        if not self._waiting:
            self._recovered_at = 0.0
        return now < self._recovered_at

    def _hold_up(self, job: Job) -> None:
        if job not in self._held_up and self._held_up_rows <= HELD_UP_ROWS:
            self._held_up.add(job)
            self._held_up_rows += len(job.rows)

    def samples(self, revision: str) -> Iterator[Sample]:
        """Give its queue, its batches, its workers and their restarts."""
        yield Sample.one("tournant_queue_rows", self._queue.rows, revision=revision)
        yield Sample.one("tournant_workers", len(self.pids), revision=revision)
        yield Sample.one("tournant_worker_restarts_total", self.restarts, revision=revision)
        yield from self._queue.batches.samples("tournant_batch_rows", revision=revision)

    async def close(self) -> None:
        """End the workers; what is still queued fails."""
        await asyncio.gather(*(lane.close() for lane in self._lanes))
        self._queue.close()
