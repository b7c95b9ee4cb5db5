"""The control loop: one leader, lockstep until quiet, and errors that stop nobody else."""

import threading

import pytest

from tournant.controllers.lease import Leadership
from tournant.controllers.loop import ControlLoop
from tournant.domain.control import ClockState, Lease
from tournant.errors import Unavailable


class Script:
    """A controller that changes something so many times, is busy so many times, or fails so many times."""

    def __init__(self, changes=0, busy=0, failures=0):
        self.changes, self.left_busy, self.failures = changes, busy, failures
        self.ticks = 0
        self.ticked = threading.Event()

    def tick(self):
        self.ticks += 1
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the cat sat on it")
        self.ticked.set()
        self.changes -= 1
        return self.changes >= 0

    def busy(self):
        self.left_busy -= 1
        return self.left_busy >= 0


def test_lockstep_ticks_until_nothing_changes_and_nobody_is_busy(world):
    """What one changes another may follow up, so all are ticked again."""
    told = []
    first, second = Script(changes=3), Script(busy=7)
    loop = ControlLoop(world.ctx, {"first": first, "second": second}, on_change=lambda: told.append(1))
    loop.tick_until_quiet(10)
    assert first.changes < 0 and second.left_busy < 0
    assert len(told) == 3


def test_lockstep_gives_up_with_a_name(world):
    """Who is waited for stands in the error."""
    loop = ControlLoop(world.ctx, {"training": Script(busy=10**9)})
    with pytest.raises(Unavailable, match="training"):
        loop.tick_until_quiet(0.1)


def test_broken_controller_backs_off_and_stops_no_other(world, caplog):
    """It is tried again, and logged."""
    broken, fine = Script(failures=1), Script(changes=2)
    loop = ControlLoop(world.ctx, {"broken": broken, "fine": fine})
    loop.tick_until_quiet(10)
    assert fine.changes < 0
    assert broken.ticks >= 2
    assert "controller broken failed" in caplog.text and "the cat sat on it" in caplog.text


def test_hopeless_controller_is_not_waited_for_for_ever(world, caplog):
    """After a few errors in a row a replay goes on without it."""
    loop = ControlLoop(world.ctx, {"hopeless": Script(failures=10**9)}, longest_backoff_seconds=0.01)
    loop.tick_until_quiet(10)
    assert "4 in a row" in caplog.text


def test_one_process_leads_until_its_lease_ends(world):
    """Another takes over on expiry or release, and the first notices."""
    first, second = Leadership(world.ctx, seconds=30.0), Leadership(world.ctx, seconds=30.0)
    assert first.hold() and not second.hold()
    with world.ctx.transactions.begin() as uow:  # as if its process had died
        uow.save(Lease(name="controllers", holder=first.holder, expires_at=0.0))
    assert second.hold()
    second.release()
    assert Leadership(world.ctx, seconds=30.0).hold()


def test_who_does_not_lead_does_not_tick(world):
    """Lockstep waits for the lease."""
    assert Leadership(world.ctx, seconds=30.0).hold()
    idle = Script()
    with pytest.raises(Unavailable, match="the lease"):
        ControlLoop(world.ctx, {"idle": idle}).tick_until_quiet(0.1)
    assert idle.ticks == 0


def test_live_loop_ticks_by_itself_and_stops(world):
    """And hands its lease on."""
    script = Script()
    loop = ControlLoop(world.ctx, {"script": script})
    loop.start()
    assert script.ticked.wait(10)
    loop.stop()
    assert Leadership(world.ctx, seconds=30.0).hold()


def test_live_loop_leaves_a_replay_alone(world):
    """A tick between two advances would see half a day."""
    with world.ctx.transactions.begin() as uow:
        uow.save(ClockState(name="replay", now=world.clock.now(), barrier=1))
    script = Script()
    loop = ControlLoop(world.ctx, {"script": script})
    loop.start()
    loop.poke()
    assert not script.ticked.wait(0.3)
    loop.tick_until_quiet(10)
    assert script.ticked.is_set()
    loop.stop()


def test_a_stopped_loop_ticks_no_more_in_lockstep_either(world):
    """Whoever waits for quiet is told, and nothing is started once `stop` has returned: no job is left behind."""
    busy = Script(busy=10**9)
    loop = ControlLoop(world.ctx, {"training": busy})
    told = []

    def settle():
        try:
            loop.tick_until_quiet(30)
        except Unavailable as exc:
            told.append(exc.message)

    waiting = threading.Thread(target=settle)
    waiting.start()
    assert busy.ticked.wait(10)
    loop.stop()
    ticks = busy.ticks
    waiting.join(10)
    assert not waiting.is_alive()
    assert busy.ticks == ticks
    assert "stopping" in told[0]
