"""Many waits, watched together."""

import asyncio

import pytest

import tournant.serving.deadlines as deadlines_module
from tournant.serving.deadlines import Deadlines


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(deadlines_module, "TICK_SECONDS", 0.01)


def test_what_waits_too_long_is_interrupted_alone():
    """The others go on, and the watching ends with the last of them."""

    async def main():
        deadlines = Deadlines()

        async def wait(seconds, limit):
            with deadlines.within(limit):
                await asyncio.sleep(seconds)
            return seconds

        results = await asyncio.gather(wait(5, 0.05), wait(0.15, 5), wait(0, 5), return_exceptions=True)
        await asyncio.sleep(0.05)
        return results, asyncio.all_tasks()

    (late, kept, immediate), tasks = asyncio.run(main())
    assert isinstance(late, TimeoutError)
    assert (kept, immediate) == (0.15, 0)
    assert len(tasks) == 1


def test_a_cancelled_task_stays_cancelled():
    """Somebody else's cancellation is not taken for a deadline."""

    async def main():
        deadlines = Deadlines()

        async def wait():
            with deadlines.within(5):
                await asyncio.sleep(5)

        task = asyncio.create_task(wait())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_an_error_of_the_body_is_the_bodys():
    """A deadline changes nothing about it."""

    async def main():
        with Deadlines().within(5):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(main())
