"""When requests are refused: by how many are ahead of one, not by the clock."""

import asyncio

import pytest

from tournant.serving.load import LASTING_SHARE, QUIET_SECONDS, LoopLoad

SLO_MS = 100.0


async def turns(*counts):
    """Give how many of each turn's requests are let in; each costs the tenth of a millisecond that is assumed at first."""
    load, let_in = LoopLoad(), []
    load.start()
    for count in counts:
        let_in.append(0)
        for _ in range(count):
            load.arrived()
            if load.too_long_ms(SLO_MS):
                load.refused()
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


def test_turn_after_turn_there_is_room_for_half_of_the_slo():
    """Who comes while one turn is worked on waits for the rest of it, too."""
    assert asyncio.run(turns(400, 400, 400, 400)) == [400, 400, 100, 340]  # to refuse 300 costs as much as to answer 60


def test_what_piled_up_once_is_worked_off():
    """Each turn after it is shorter."""
    assert asyncio.run(turns(10, 500, 250, 125, 60)) == [10, 500, 250, 125, 60]


def test_a_late_loop_counts_where_others_are_refused_for_long():
    """A pause that is the machine's doing refuses nobody; where there is always too much to do, who came in it has waited for it."""

    async def let_in(refusing_seconds, quiet_seconds=0.0):
        load = LoopLoad()
        load.start()
        load._late[-1] = 0.05  # as the last tick found it
        if refusing_seconds is not None:
            load.refused()
            load._refusing_since -= refusing_seconds
            load._refused_at -= quiet_seconds
        load.arrived()
        load.stop()
        return not load.too_long_ms(SLO_MS)

    assert asyncio.run(let_in(None))
    assert asyncio.run(let_in(0.0))
    assert not asyncio.run(let_in(1.0))
    assert asyncio.run(let_in(1.0, 2 * QUIET_SECONDS))


def test_turns_without_a_refusal_do_not_end_a_lasting_load():
    """A model that works in batches is not asked for too much in every turn."""

    async def room_ms():
        load = LoopLoad()
        load.start()
        load.refused()
        load._refusing_since -= 1.0
        for _ in range(3):
            load.arrived()
            load.turned()
        assert not load.refusing
        load.arrived()
        load.stop()
        return load.too_long_ms(SLO_MS, 60.0)

    assert asyncio.run(room_ms()) == LASTING_SHARE * SLO_MS


def test_the_loop_and_the_model_are_added_up_where_the_load_lasts():
    """Until then each may take its half of the SLO."""

    async def refused(*, lasts, model_ms):
        load = LoopLoad()
        load.start()
        if lasts:
            load.refused()
            load._refusing_since -= 1.0
        for _ in range(250):  # 25 ms
            load.arrived()
        load.stop()
        return bool(load.too_long_ms(SLO_MS, model_ms))

    assert not asyncio.run(refused(lasts=False, model_ms=45.0))
    assert asyncio.run(refused(lasts=False, model_ms=55.0))
    assert asyncio.run(refused(lasts=True, model_ms=20.0))
    assert not asyncio.run(refused(lasts=True, model_ms=1.0))
