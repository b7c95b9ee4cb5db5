"""Waking those who wait."""

import asyncio
import threading

from tournant.web.changes import Changes


def test_a_poke_from_another_thread_wakes_a_waiter():
    """A waiter returns as soon as another thread pokes."""

    async def wait() -> int:
        changes = Changes()
        threading.Timer(0.02, changes.poke).start()
        while changes.count == 0:
            await changes.wait(0, 5.0)
        return changes.count

    assert asyncio.run(wait()) == 1


def test_a_change_before_the_wait_is_not_missed():
    """Somebody who looked before the change does not wait for the next one."""

    async def wait() -> None:
        changes = Changes()
        seen = changes.count
        changes.poke()
        await asyncio.wait_for(changes.wait(seen, 60.0), 5.0)

    asyncio.run(wait())
