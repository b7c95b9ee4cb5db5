"""What waits for workers, and what of it is told as load."""

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tournant.domain.registry import Column, ColumnType, Signature
from tournant.serving.failures import WorkerLost
from tournant.serving.replica import HELD_UP_ROWS, Replica
from tournant.serving.worker_process import WorkerModel

ROW_SECONDS = 0.01
MODEL = """
import time
class Model:
    def predict(self, rows):
        time.sleep(60 if 9.0 in [row[0] for row in rows] else 0.2)
        return [0.5] * len(rows)
"""


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


def test_who_waits_through_two_losses_is_counted_once():
    """Its rows are no less than none when it is answered."""

    async def run():
        replica = Replica(None)
        asked = asyncio.create_task(replica.predict([(1.0,)]))
        await asyncio.sleep(0)
        replica._none_since = 0.0  # as if there had been a worker meanwhile, which did not come to it
        counted = replica.held_up, replica._held_up_rows
        await replica.close()
        await asyncio.gather(asked, return_exceptions=True)
        return counted, (replica.held_up, replica._held_up_rows)

    assert asyncio.run(run()) == ((1, 1), (0, 0))


def test_what_piled_up_without_a_worker_is_no_load_until_it_is_worked_off():
    """For twice as long at most; then whoever comes is counted again."""

    async def held_up(*, waiting, recovered_seconds):
        replica = Replica(None)
        asked = [asyncio.create_task(replica.predict([(1.0,)])) for _ in range(waiting)]
        await asyncio.sleep(0)
        replica._none_since = time.monotonic() - 10.0
        replica._lanes[0]._worker = SimpleNamespace(pid=1, kill=lambda: None, end=lambda: asyncio.sleep(0))
        assert replica.held_up == waiting
        replica._recovered_at -= recovered_seconds
        asked.append(asyncio.create_task(replica.predict([(1.0,)])))
        await asyncio.sleep(0)
        counted = replica.held_up
        await replica.close()
        await asyncio.gather(*asked, return_exceptions=True)
        return counted

    assert asyncio.run(held_up(waiting=1, recovered_seconds=19.0)) == 2
    assert asyncio.run(held_up(waiting=1, recovered_seconds=21.0)) == 1
    assert asyncio.run(held_up(waiting=0, recovered_seconds=0.0)) == 0  # nothing had piled up


@pytest.fixture
def model(tmp_path):
    """A model that takes a fifth of a second, or for ever."""
    (tmp_path / "model.py").write_text(MODEL)
    return WorkerModel(
        python=Path(sys.executable),
        folder=tmp_path,
        entry="model.py",
        predict="predict",
        signature=Signature(inputs=(Column(name="x", type=ColumnType.NUMBER),)),
        log=tmp_path / "log",
        environ=dict(os.environ),
    )


@asynccontextmanager
async def running(model, **settings):
    replica = Replica(model, **settings)
    await replica.start()
    try:
        yield replica
    finally:
        await replica.close()


def test_a_loop_that_is_held_up_takes_no_worker_for_hung(model):
    """The answer is there, and only not read yet."""

    async def run():
        async with running(model, hang_seconds=0.5) as replica:
            asked = asyncio.create_task(replica.predict([(1.0,)]))
            await asyncio.sleep(0.05)
            time.sleep(1)
            return await asked, replica.restarts

    assert asyncio.run(run()) == ([0.5], 0)


def test_what_a_hung_worker_has_is_tried_once_more(model):
    """Then it fails, and the next worker is there for others."""

    async def run():
        async with running(model, hang_seconds=2.0) as replica:
            with pytest.raises(WorkerLost, match="no answer for"):
                await replica.predict([(9.0,)])
            return await replica.predict([(1.0,)]), replica.restarts

    assert asyncio.run(run()) == ([0.5], 2)


def test_what_waits_when_it_is_closed_fails(model):
    """With the worker or before it."""

    async def run():
        async with running(model) as replica:
            asked = [asyncio.create_task(replica.predict([(9.0,)])) for _ in range(2)]
            await asyncio.sleep(0.1)
            asked.append(asyncio.create_task(replica.predict([(1.0,)])))
            await asyncio.sleep(0)
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)

    assert [type(end) for end in asyncio.run(run())] == [WorkerLost] * 3


def test_what_a_lost_worker_had_is_no_load_either(model):
    """Nobody is refused for what cannot move until there is another worker."""

    async def run():
        async with running(model) as replica:
            asked = [asyncio.create_task(replica.predict([(1.0,)])) for _ in range(3)]
            await asyncio.sleep(0.05)
            replica._queue.cost.row_seconds = ROW_SECONDS
            before = replica.held_up, replica.wait_seconds()
            os.kill(replica.pids[0], signal.SIGKILL)
            while replica.pids:
                await asyncio.sleep(0)
            during = replica.held_up, replica.wait_seconds()
            scores = await asyncio.gather(*asked)
            return before, during, scores, (replica.held_up, replica._rows)

    before, during, scores, after = asyncio.run(run())
    assert before == (0, pytest.approx(3 * ROW_SECONDS))
    assert during == (3, 0.0)
    assert scores == [[0.5]] * 3
    assert after == (0, 0)
