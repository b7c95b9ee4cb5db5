"""When requests are refused: by how many are ahead of one, not by the clock."""

import asyncio
import time

import pytest

from tournant.serving.load import BURST_SHARE, LASTING_SECONDS, LASTING_SHARE, QUIET_SECONDS, SHARE, LoopLoad

SLO_MS = 100.0


def pause(seconds):
    """Take time, and no CPU: as a machine does that pauses."""
    time.sleep(seconds)


async def turns(*counts):
    """Give how many of each turn's requests are let in; each costs the tenth of a millisecond that is assumed at first."""
    load, let_in = LoopLoad(), []
    load.start()
    for count in counts:
        let_in.append(0)
        for _ in range(count):
            load.arrived()
            if load.too_long_ms(SLO_MS):
                load.refused("flights")
            else:
                let_in[-1] += 1
        load._cost_ms = 0.1  # what a turn of nothing but this test would teach
        load.turned()
        load._cost_ms = 0.1
    load.stop()
    return let_in


@pytest.mark.parametrize("count", [1, 100, 700])
def test_a_turn_that_can_be_answered_in_time_is(count):
    """However many come at once, and whatever made them: a pause of the machine's refuses nobody."""
    assert asyncio.run(turns(count)) == [count]


def test_a_burst_has_an_end():
    """Whoever could not be answered within the SLO is told so at once."""
    assert asyncio.run(turns(4_000)) == [800]


def test_turn_after_turn_there_is_room_for_what_can_be_answered_in_time():
    """Who comes while one turn is worked on waits for the rest of it, too."""
    assert asyncio.run(turns(500, 500, 500, 500)) == [500, 300, 360, 312]  # to refuse 200 costs as much as to answer 40


def test_what_piled_up_once_is_worked_off():
    """Each turn after it is shorter."""
    assert asyncio.run(turns(10, 500, 250, 125, 60)) == [10, 500, 250, 125, 60]


def lasting(load, deployment="flights", *, seconds=1.0, quiet_seconds=0.0):
    """Let a deployment's requests have been refused for so long, until a while ago."""
    now = time.perf_counter()
    load._refusals[deployment] = (now - quiet_seconds - seconds, now - quiet_seconds)
    return load.lasting(deployment)


def test_a_turn_that_took_long_counts_where_others_are_refused_for_long():
    """A pause that is the machine's doing refuses nobody; where there is always too much to do, who came in it has waited for it."""

    async def let_in(refusing_seconds, quiet_seconds=0.0):
        load = LoopLoad()
        load.start()
        if refusing_seconds is not None:
            lasting(load, seconds=refusing_seconds, quiet_seconds=quiet_seconds)
        lasts = load.lasting("flights")
        load.arrived()
        load._asked = 50.0  # which should take 5 ms
        pause(0.05)
        load.turned()
        load.arrived()
        load.stop()
        return not load.too_long_ms(SLO_MS, lasting=lasts)

    assert asyncio.run(let_in(None))
    assert asyncio.run(let_in(0.0))
    assert not asyncio.run(let_in(1.0))
    assert asyncio.run(let_in(1.0, 2 * QUIET_SECONDS))


def test_nobody_has_waited_for_a_turn_that_ended_long_ago():
    """Who finds the loop idle comes now."""

    async def limit_ms():
        load = LoopLoad()
        load.start()
        load.arrived()
        load.turned()
        pause(0.05)
        load.arrived()
        load.stop()
        return load.too_long_ms(SLO_MS, lasting=True)

    assert not asyncio.run(limit_ms())


def test_a_load_lasts_by_refusals_that_are_near_to_each_other():
    """In batches, not in every turn."""
    load = LoopLoad()
    load.refused("flights")
    since, _ = load._refusals["flights"]
    assert not load.lasting("flights")
    load._refusals["flights"] = since - LASTING_SECONDS, since
    for _ in range(3):
        load.arrived()
        load.turned()
    assert not load.refusing
    load.refused("flights")
    assert load.lasting("flights")
    load._refusals["flights"] = since - 1.0, since - 2 * QUIET_SECONDS
    load.refused("flights")
    assert not load.lasting("flights")


def test_a_deployment_that_is_overloaded_makes_nobody_strict_with_its_neighbours():
    """Each has its own refusals."""
    load = LoopLoad()
    assert lasting(load, "fraud")
    assert not load.lasting("flights")


def test_the_loop_and_the_model_are_added_up_where_the_load_lasts():
    """Until then each may take its part of the SLO."""

    async def limit_ms(*, lasting, asked=250, model_ms=0.0):
        load = LoopLoad()
        load.start()
        for _ in range(asked):  # a tenth of a millisecond each
            load.arrived()
        load._came_from -= asked / 1e4  # by the clock, too
        load.stop()
        return load.too_long_ms(SLO_MS, model_ms, lasting=lasting)

    assert not asyncio.run(limit_ms(lasting=False, asked=650, model_ms=65.0))
    assert asyncio.run(limit_ms(lasting=False, model_ms=75.0)) == SHARE * SLO_MS
    assert asyncio.run(limit_ms(lasting=False, asked=900)) == BURST_SHARE * SLO_MS
    assert asyncio.run(limit_ms(lasting=True, asked=150, model_ms=20.0)) == LASTING_SHARE * SLO_MS
    assert not asyncio.run(limit_ms(lasting=True, asked=150, model_ms=1.0))
