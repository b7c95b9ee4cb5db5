"""What waits for workers, and what of it is told as load."""

import asyncio

import pytest

from tournant.serving.failures import WorkerLost
from tournant.serving.replica import HELD_UP_ROWS, Replica

ROW_SECONDS = 0.01


async def told_of(*, waiting, rows):
    """Give what a replica whose workers are gone says while requests wait: how many are held up, and the estimated wait."""
    replica = Replica(None)
    replica._queue.cost.row_seconds = ROW_SECONDS
    asked = [asyncio.create_task(replica.predict([(1.0,)] * rows)) for _ in range(waiting)]
    await asyncio.sleep(0)
    told = replica.held_up, replica.wait_seconds()
    await replica.close()
    assert all(isinstance(end, WorkerLost) for end in await asyncio.gather(*asked, return_exceptions=True))
    assert (replica.held_up, replica.wait_seconds()) == (0, 0.0)
    return told


def test_what_waits_for_want_of_a_worker_is_no_load():
    """Nobody is refused because a worker is being started again."""
    assert asyncio.run(told_of(waiting=300, rows=1)) == (300, 0.0)


def test_what_waits_without_a_worker_has_an_end():
    """Beyond some thousand rows they count."""
    rows = HELD_UP_ROWS // 2
    held_up, seconds = asyncio.run(told_of(waiting=5, rows=rows))
    assert held_up == 3  # the third is the first that finds the limit reached, and no more
    assert seconds == pytest.approx(2 * rows * ROW_SECONDS)
