"""What waits for a replica's workers: jobs in order, taken in batches as large as the load makes them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tournant.serving.batch_cost import BatchCost
from tournant.serving.failures import ModelFailed, WorkerLost
from tournant.serving.metrics import BATCH_BOUNDS, Histogram
from tournant.serving.outputs import Score
from tournant.serving.patience import Patience
from tournant.serving.schema import Values
from tournant.serving.together import Later

__all__ = ["Job", "JobQueue", "fail", "spread"]

BATCH_ROWS = 256


@dataclass(slots=True, eq=False)
class Job:
    """One request's rows; a job whose worker was lost is tried once more."""

    rows: Sequence[Values]
    answer: Later[Sequence[Score]]
    tries: int = 0


class JobQueue:
    """Served by one or several workers. Belongs to the event loop."""

    def __init__(self, patience: Patience) -> None:
        """Start empty; `patience` says how long a worker may keep a batch."""
        self.patience = patience
        self.rows = 0
        self.cost = BatchCost()
        self.batches = Histogram(BATCH_BOUNDS)
        self._jobs: deque[Job] = deque()
        self._idle: list[Callable[[], None]] = []
        self._calling = False

    def put(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)
        self.rows += len(job.rows)
        self._call()

    def take(self, idle: Callable[[], None]) -> list[Job]:
        """Give a batch; where there is none, nothing, and `idle` is called when there may be. Jobs whose asker has gone are left out."""
        part = -(-self.rows // (len(self._idle) + 1))  # others idle: leave them theirs
        batch = self._batch(min(BATCH_ROWS, part))
        if not batch:
            self._idle.append(idle)
        return batch

    def leave(self, idle: Callable[[], None]) -> None:
        """Call nobody whose worker is gone."""
        if idle in self._idle:
            self._idle.remove(idle)

    def ran(self, rows: int, own_seconds: float, seconds: float) -> None:
        """Take in how long a batch took, by the worker's own account and as seen from here, where the event loop may be late."""
        self.batches.note(rows)
        self.cost.note(rows, own_seconds)
        self.patience.note(rows, seconds)

    def give_back(self, batch: Iterable[Job], cause: WorkerLost) -> None:
        """Put what a lost worker had in front again; what was lost before fails."""
        again = []
        for job in batch:
            job.tries += 1
            if job.tries > 1:
                fail(job, cause)
            else:
                again.append(job)
        self.put_back(again)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Put jobs in front, in their order."""
        self._jobs.extendleft(reversed(jobs))
        self.rows += sum(len(job.rows) for job in jobs)
        self._call()

    def close(self) -> None:
        """Fail what is still queued."""
        jobs, self._jobs, self.rows = self._jobs, deque(), 0
        for job in jobs:
            fail(job, WorkerLost("the revision was unloaded"))

    def _call(self) -> None:
        """Call who is idle, once all is queued that came in this turn of the event loop."""
        if self._idle and not self._calling:
            self._calling = True
            asyncio.get_running_loop().call_soon(self._called)

    def _called(self) -> None:
        self._calling = False
        for _ in range(len(self._idle)):
            if not self._jobs:
                return
            self._idle.pop(0)()

    def _batch(self, limit: int) -> list[Job]:
        batch: list[Job] = []
        rows = 0
        while self._jobs and (not batch or rows + len(self._jobs[0].rows) <= limit):
            job = self._jobs.popleft()
            self.rows -= len(job.rows)
            if not job.answer.done():
                batch.append(job)
                rows += len(job.rows)
        return batch


def spread(batch: Sequence[Job], scores: Sequence[Score]) -> None:
    """Give each job its part; too few or too many scores are each job's failure."""
    wanted = sum(len(job.rows) for job in batch)
    if not isinstance(scores, list) or len(scores) != wanted:
        for job in batch:
            fail(job, ModelFailed(f"the model gave not one prediction a row for {wanted} rows"))
        return
    start = 0
    for job in batch:
        end = start + len(job.rows)
        if not job.answer.done():
            job.answer.set_result(scores[start:end])
        start = end


def fail(job: Job, error: ModelFailed) -> None:
    """Give a job its error, unless its asker has gone."""
    if not job.answer.done():
        job.answer.set_exception(error)
