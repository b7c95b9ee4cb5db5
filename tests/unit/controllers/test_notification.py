"""The notification controller on a real database: who is told of what, in which order, and what a broken notifier does."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from tournant.controllers.notification import GIVE_UP_SECONDS, NotificationController
from tournant.domain.control import Event
from tournant.domain.deployment import Deployment
from tournant.domain.notifications import Message, NotificationCursor
from tournant.domain.rollout import Rollout
from tournant.services.context import Context
from tournant.services.deployments import deploy, rollback
from tournant.services.rollouts import abort_rollout, promote_rollout


class Kept:
    """Keeps what it is told; fails the first `failures` times, and waits for `gate` if there is one."""

    def __init__(self, name: str, failures: int = 0, gate: threading.Event | None = None) -> None:
        self.name, self.failures, self.gate = name, failures, gate
        self.tries = 0
        self.told: list[Message] = []

    @property
    def kinds(self) -> list[str]:
        return [message.event.kind for message in self.told]

    def notify(self, message: Message) -> None:
        self.tries += 1
        if self.gate:
            assert self.gate.wait(30)
        if self.tries <= self.failures:
            raise RuntimeError("nobody home")
        self.told.append(message)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 30 s"
        time.sleep(0.005)


@pytest.fixture
def follow(context: Context) -> Iterator[Callable[..., NotificationController]]:
    """Start controllers for notifiers, at a first tick, and stop them at the end."""
    started = []

    def start(*notifiers: Kept, ctx: Context = context) -> NotificationController:
        controller = NotificationController(replace(ctx, notifiers=notifiers), longest_backoff_seconds=0.01)
        started.append(controller)
        assert not controller.tick()
        return controller

    yield start
    for controller in started:
        controller.stop(30)


def record(ctx: Context, *kinds: str, **changes: object) -> list[Event]:
    events = [replace(ctx.event(kind, "deployment/d", f"{kind} happened"), **changes) for kind in kinds]
    with ctx.transactions.begin() as uow:
        for event in events:
            uow.record(event)
    return events


def test_each_notifier_is_told_in_order_of_what_people_want_to_hear(context: Context, follow: Any) -> None:
    """Everyday events are left out, and ticking again tells nothing twice."""
    one, two = Kept("one"), Kept("two")
    controller = follow(one, two)
    record(context, "run.created", "alert.opened", "rollout.advanced", "rollout.failed", "alert.closed")
    controller.tick()
    controller.tick()
    wanted = ["alert.opened", "rollout.failed", "alert.closed"]
    until(lambda: one.kinds == two.kinds == wanted)
    record(context, "rollout.promoted")
    controller.tick()
    until(lambda: one.kinds == two.kinds == [*wanted, "rollout.promoted"])


def test_on_either_database(context: Context, transactions: Any, follow: Any) -> None:
    """SQLite and PostgreSQL keep the cursor alike."""
    ctx = replace(context, transactions=transactions)
    kept = Kept("kept")
    controller = follow(kept, ctx=ctx)
    (event,) = record(ctx, "rollout.failed")
    controller.tick()
    until(lambda: kept.kinds == ["rollout.failed"])
    controller.stop(30)
    with transactions.begin(write=False) as uow:
        assert uow.get(NotificationCursor, "kept").knows(event)


def test_a_broken_notifier_holds_up_nobody_and_is_told_later_in_order(
    context: Context, follow: Any, caplog: Any
) -> None:
    """It is asked again, less and less often; the log says why."""
    broken, fine = Kept("broken", failures=4), Kept("fine")
    controller = follow(broken, fine)
    record(context, "alert.opened", "alert.closed")
    controller.tick()
    until(lambda: fine.kinds == broken.kinds == ["alert.opened", "alert.closed"])
    assert broken.tries == 6
    assert "broken was not told of alert.opened of deployment/d" in caplog.text and "nobody home" in caplog.text


def test_a_notifier_that_hangs_holds_up_neither_the_loop_nor_the_others(context: Context, follow: Any) -> None:
    """Ticks end while it hangs, and no transaction is open meanwhile: others write."""
    gate = threading.Event()
    hanging, fine = Kept("hanging", gate=gate), Kept("fine")
    controller = follow(hanging, fine)
    record(context, "alert.opened")
    controller.tick()
    until(lambda: hanging.tries == 1)
    record(context, "alert.closed")
    controller.tick()
    assert not controller.busy()
    until(lambda: fine.kinds == ["alert.opened", "alert.closed"])
    assert hanging.told == []
    gate.set()
    until(lambda: hanging.kinds == fine.kinds)


def test_after_a_restart_the_rest_is_told(context: Context, follow: Any) -> None:
    """What was told before is not told again; what was not is, also what happened in between."""
    first = Kept("same")
    controller = follow(first)
    record(context, "alert.opened")
    controller.tick()
    until(lambda: first.told)
    first.failures = 10**9
    record(context, "rollout.failed")
    controller.tick()
    until(lambda: first.tries > 2)
    controller.stop(30)
    record(context, "alert.closed")
    second = Kept("same")
    follow(second)
    until(lambda: second.kinds == ["rollout.failed", "alert.closed"])


def test_another_leader_tells_nothing_twice(context: Context, follow: Any) -> None:
    """A control plane that led before, and leads again, sees what was told in between."""
    first, second = Kept("same"), Kept("same")
    one, two = follow(first), follow(second)
    record(context, "alert.opened")
    two.tick()
    until(lambda: second.told)
    two.stop(30)
    one.tick()
    record(context, "alert.closed")
    one.tick()
    until(lambda: first.kinds == ["alert.closed"])


def test_a_new_notifier_is_not_told_of_the_past(context: Context, follow: Any) -> None:
    """Nor is one that was taken away and comes back; the others' cursors stay."""
    kept = Kept("kept")
    controller = follow(kept)
    record(context, "alert.opened")
    controller.tick()
    until(lambda: kept.told)
    controller.stop(30)
    time.sleep(0.002)  # ids count milliseconds
    new = Kept("new")
    controller = follow(new)
    record(context, "alert.closed")
    controller.tick()
    until(lambda: new.kinds == ["alert.closed"])
    with context.transactions.begin(write=False) as uow:
        assert [cursor.notifier for cursor in uow.find(NotificationCursor)] == ["new"]


def test_an_event_committed_after_a_later_one_is_told(context: Context, follow: Any) -> None:
    """Ids are given before the commit; nothing is lost by that."""
    kept = Kept("kept")
    controller = follow(kept)
    early = context.event("alert.opened", "deployment/d", "given first, committed last")
    time.sleep(0.002)
    record(context, "rollout.failed")
    controller.tick()
    until(lambda: kept.kinds == ["rollout.failed"])
    with context.transactions.begin() as uow:
        uow.record(early)
    controller.tick()
    until(lambda: kept.kinds == ["rollout.failed", "alert.opened"])


def test_old_news_is_given_up_after_a_try(context: Context, follow: Any, caplog: Any) -> None:
    """So that one message that is refused for ever does not hold up the next for ever."""
    picky = Kept("picky", failures=1)
    controller = follow(picky)
    record(context, "alert.opened", recorded_at=time.time() - GIVE_UP_SECONDS - 1)
    record(context, "alert.closed")
    controller.tick()
    until(lambda: picky.kinds == ["alert.closed"])
    assert picky.tries == 2
    assert "picky is not told of alert.opened of deployment/d: nobody home" in caplog.text


def test_rollouts_are_told_with_their_records(world: Any, quick_config: Any, follow: Any) -> None:
    """What the services and the controller really do: promoted, waiting, failed, aborted by a person, rolled back."""
    kept = Kept("kept")
    controller = follow(kept, ctx=world.ctx)
    steps = replace(quick_config, rollout=replace(quick_config.rollout, approval="steps"))
    deploy(world.ctx, "d", world.register(1), config=steps)
    world.settle()
    deploy(world.ctx, "d", world.register(2))
    for _ in range(4):
        world.serve(400)
        world.clock.time += 3600
    promote_rollout(world.ctx, world.rollout("d/2").id, force=True)
    rollback(world.ctx, "d", reason="users complain")
    deploy(world.ctx, "d", world.register(3))
    deploy(world.ctx, "d", world.register(4))  # supersedes: not told
    abort_rollout(world.ctx, world.rollout("d/4").id, reason="wrong file")
    world.behaviours["d/5"] = type(world.gateways[0].behaviour(""))(load_error="no module named 'sklearn'")
    deploy(world.ctx, "d", world.register(5))
    world.settle()
    controller.tick()
    until(lambda: len(kept.told) == 6)
    assert kept.kinds == [
        "rollout.promoted",
        "rollout.waits",
        "rollout.promoted",
        "deployment.rolled_back",
        "rollout.aborted",
        "rollout.failed",
    ]
    records = [message.record for message in kept.told]
    assert [type(record) for record in records] == [Rollout, Rollout, Rollout, Deployment, Rollout, Rollout]
    assert "no module named 'sklearn'" in kept.told[-1].text and "wrong file" in kept.told[-2].text
    assert "users complain" in kept.told[3].text and "tournant rollouts promote d" in kept.told[1].text
