"""Requests that are answered together: one run for all, and a failure only for whom it concerns."""

import asyncio
from contextvars import ContextVar

import pytest

from tournant.serving.failures import ModelFailed
from tournant.serving.together import TOGETHER, Later, Together, at_once, deadline, joined


class Doubling:
    """Doubles numbers; raises on a negative one, and forgets one on a 99."""

    inline = True

    def __init__(self):
        self.runs = []

    async def predict(self, rows):
        self.runs.append(len(rows))
        if any(row[0] < 0 for row in rows):
            raise ModelFailed("a number is negative")
        return [2 * row[0] for row in rows if row[0] != 99]


async def answer(model, number):
    try:
        found = await joined(model, (number,))
    except ModelFailed as exc:
        return str(exc)
    return None if found is None else found[0]


def answers(model, *numbers):
    together, found = Together(), []
    for number in numbers:
        together.add(answer(model, number), found.append)
    together.run()
    return found


def test_one_run_for_all():
    """Answered in the order they came."""
    model = Doubling()
    assert answers(model, 1, 2, 3) == [2, 4, 6]
    assert model.runs == [3]


def test_models_are_not_mixed():
    """Each runs once."""
    one, other, found = Doubling(), Doubling(), []
    together = Together()
    for number in range(4):
        together.add(answer(one if number % 2 else other, number), found.append)
    together.run()
    assert sorted(found) == [0, 2, 4, 6]
    assert (one.runs, other.runs) == ([2], [2])


@pytest.mark.parametrize(
    ("wrong", "told"), [(-1, "a number is negative"), (99, "the model gave 0 predictions for 1 rows")]
)
def test_a_row_that_fails_fails_nobody_else(wrong, told):
    """They are run again, one by one."""
    assert answers(Doubling(), 1, wrong, 3) == [2, told, 6]


def test_enough_do_not_wait_for_more():
    """The first ones would wait for longer than all gain."""
    model, together, found = Doubling(), Together(), []
    for number in range(TOGETHER + 1):
        together.add(answer(model, number), found.append)
    assert len(found) == TOGETHER
    together.run()
    assert model.runs == [TOGETHER, 1]


def test_who_is_begun_by_an_answer_is_answered_too():
    """A connection's next request is taken when its first is answered."""
    model, together, found = Doubling(), Together(), []

    def done(result):
        found.append(result)
        if len(found) < 4:
            together.add(answer(model, len(found)), done)

    together.add(answer(model, 0), done)
    together.run()
    assert found == [0, 2, 4, 6]


def test_one_may_ask_twice():
    """And what waits for nothing ends at once."""

    async def twice(model):
        first = await joined(model, (1,))
        second = await joined(model, (first[0],))
        return second[0]

    async def never():
        return "at once"

    model, together, found = Doubling(), Together(), []
    together.add(twice(model), found.append)
    together.add(never(), found.append)
    assert found == ["at once"]
    together.run()
    assert found == ["at once", 4]


def test_in_a_task_nobody_gathers():
    """The model is asked as ever."""
    model = Doubling()
    assert asyncio.run(answer(model, 1)) is None
    assert model.runs == []


async def waiting(future, seconds=10.0):
    try:
        async with deadline(seconds):
            return await future
    except TimeoutError:
        return "too late"


def test_who_waits_is_told_at_once():
    """Not in the next turn of the event loop; a failure as well."""

    async def run():
        together, found = Together(), []
        first, second = Later(), Later()
        together.add(waiting(first), found.append)
        together.add(waiting(second), found.append)
        second.set_result("second")
        assert found == ["second"]
        first.set_exception(TimeoutError())
        assert found == ["second", "too late"]

    asyncio.run(run())


def test_other_futures_and_tasks_are_waited_for_as_ever():
    """A task may wait for what tells at once, and what is answered together for any future."""

    async def run():
        together, found, later = Together(), [], Later()
        task = asyncio.create_task(waiting(later))
        together.add(waiting(asyncio.sleep(0.001, "slept")), found.append)
        together.add(asyncio.sleep(0, "at once"), found.append)
        await asyncio.sleep(0)
        later.set_result("told")
        assert await task == "told"
        await asyncio.sleep(0.05)
        assert found == ["at once", "slept"]

    asyncio.run(run())


def test_a_deadline_ends_a_wait():
    """Nobody works on for what is not waited for any more; what came before it is not touched."""

    async def run():
        together, found, late, soon = Together(), [], Later(), Later()
        together.add(waiting(late, 0.01), found.append)
        together.add(waiting(soon, 0.01), found.append)
        soon.set_result("soon")
        await asyncio.sleep(0.05)
        assert found == ["soon", "too late"]
        assert late.cancelled()

    asyncio.run(run())


def test_one_that_raises_harms_nobody():
    """It is a mistake of ours: the event loop says it, its asker is given nothing, and who told goes on."""

    async def fails(future):
        raise ValueError(await future)

    async def run():
        together, found, said, later = Together(), [], [], Later()
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: said.append(context["exception"]))
        together.add(fails(later), found.append)
        later.set_result("why")
        assert found == [None]
        assert [str(exc) for exc in said] == ["why"]

    asyncio.run(run())


def test_each_has_a_context_of_its_own():
    """What one sets, another does not find, however their steps alternate."""
    name = ContextVar("name", default="nobody")

    async def named(own, future):
        token = name.set(own)
        await future
        told = name.get()
        name.reset(token)
        return told

    async def run():
        together, found, futures = Together(), [], [Later(), Later()]
        for own, future in zip("ab", futures, strict=True):
            together.add(named(own, future), found.append)
        for future in futures:
            future.set_result(None)
        assert found == ["a", "b"]
        assert name.get() == "nobody"

    asyncio.run(run())


def test_a_task_that_one_makes_is_none_of_them():
    """Its model is asked as ever, though it has its maker's context."""
    model = Doubling()

    async def run():
        together, tasks = Together(), []

        async def makes():
            tasks.append(asyncio.create_task(answer(model, 1)))

        together.add(makes(), lambda _: None)
        assert await tasks[0] is None

    asyncio.run(run())


def test_what_waits_cannot_be_answered_at_once():
    """It is a mistake of ours, and said so."""

    async def ask():
        at_once(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="waits for something"):
        asyncio.run(ask())
