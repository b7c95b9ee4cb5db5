"""How fast a model answers, by the clock and while it has something to do."""

import asyncio
from types import SimpleNamespace

import pytest

from tournant.serving import pace
from tournant.serving.endpoint import Endpoint
from tournant.serving.held import Held
from tournant.serving.pace import FEW, Pace


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on when it is told to."""

    class Clock:
        now = 100.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def answer(pace, clock, *, count, each_seconds, together=1):
    """Let answers come, so many at a time."""
    for _ in range(count // together):
        clock.now += together * each_seconds
        for _ in range(together):
            pace.answered()


def test_nothing_is_known_before_the_first_answer():
    """And nothing is claimed."""
    assert Pace().seconds == 0.0


@pytest.mark.parametrize("together", [1, 10])
def test_the_time_between_two_answers_is_told(clock, together):
    """Whether they come singly or in batches."""
    pace = Pace()
    pace.begin()
    answer(pace, clock, count=1_000, each_seconds=0.001, together=together)
    assert pace.seconds == pytest.approx(0.001, rel=0.05)


def test_time_without_anything_to_do_is_no_time_an_answer_took(clock):
    """However long it was."""
    pace = Pace()
    pace.begin()
    answer(pace, clock, count=1_000, each_seconds=0.001)
    clock.now += 60.0
    pace.begin()
    answer(pace, clock, count=10, each_seconds=0.001)
    assert pace.seconds == pytest.approx(0.001, rel=0.01)


def test_a_model_that_became_slower_is_known_soon(clock):
    """After 0.4 s what was before counts for a fifth: of 250 answers in a quarter of a second 50, beside 40 of the 50 that are usual now."""
    pace = Pace()
    pace.begin()
    answer(pace, clock, count=1_000, each_seconds=0.001)
    answer(pace, clock, count=80, each_seconds=0.005)
    assert pace.seconds == pytest.approx(0.25 / 90, rel=0.02)


def test_an_outage_counts_for_no_more_than_what_is_recent(clock):
    """A worker that was started again is as fast as ever."""
    pace = Pace()
    pace.begin()
    answer(pace, clock, count=1_000, each_seconds=0.001)
    clock.now += 10.0
    answer(pace, clock, count=750, each_seconds=0.001)
    assert pace.seconds < 0.0012


def test_a_few_are_let_in_whatever_the_pace_was(clock):
    """Who lets in one at a time sees no pace but that of one at a time: a slow moment would last."""
    pace = Pace()
    pace.begin()
    answer(pace, clock, count=100, each_seconds=0.050)
    assert pace.wait_seconds(FEW) == 0
    assert pace.wait_seconds(FEW + 1) == pytest.approx(0.050 * (FEW + 1))


class Model:
    """Answers all that is asked of it together, after a while."""

    inline = False
    held_up = 0

    async def predict(self, rows):
        await asyncio.sleep(0.002)
        return [0.5] * len(rows)

    def wait_seconds(self):
        return 0.001


def test_where_a_load_lasts_those_under_way_are_counted_by_the_pace_of_the_answers():
    """Until then by what each costs the event loop; the model's own estimate is the least that is said."""
    signature = SimpleNamespace(output=SimpleNamespace(kind="probability", classes=()))
    held = Held(SimpleNamespace(id="r1", model=SimpleNamespace(version="v1"), signature=signature), Model())
    endpoint = SimpleNamespace(stable=SimpleNamespace(held=held))

    async def ask():
        await asyncio.gather(*(held.ask([(1.0,)], 10.0) for _ in range(4)))

    asyncio.run(ask())
    assert held.pace.seconds > 0
    held.in_flight = 20
    held.pace._busy_seconds, held.pace._answers = 0.2, 50.0
    assert Endpoint.wait_ms(endpoint, 0.0002, lasting=False) == pytest.approx(5.0)
    assert Endpoint.wait_ms(endpoint, 0.0002, lasting=True) == pytest.approx(80.0)
    assert Endpoint.wait_ms(endpoint, 0.0100, lasting=True) == pytest.approx(201.0)
