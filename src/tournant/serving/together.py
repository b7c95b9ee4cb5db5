"""Requests of one turn of the event loop, answered together: what they ask of one model is one run of it.

A small model's run costs several times what a row of it does, and a loop that alternates between models, JSON and sockets
finds its caches cold each time.
"""

import time
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from tournant.serving.failures import ModelFailed
from tournant.serving.outputs import Score
from tournant.serving.predictor import Predictor
from tournant.serving.schema import Values

__all__ = ["Joined", "Together", "at_once", "joined"]

T = TypeVar("T")
TOGETHER = 16  # requests: more would make the first wait for longer than it gains
_gathering: ContextVar[bool] = ContextVar("gathering", default=False)


class Joined(NamedTuple):
    """One row's score, from a run of so many `rows` that took `seconds`."""

    score: Score
    seconds: float
    rows: int


class _Asked:
    """What a coroutine waits for: one row to have been run."""

    __slots__ = ("model", "row")

    def __init__(self, model: Predictor, row: Values) -> None:
        self.model = model
        self.row = row

    def __await__(self) -> Generator["_Asked", Joined, Joined]:
        return (yield self)


class _Waiting(NamedTuple):
    """A coroutine to be gone on with, what it is told, and what becomes of its result."""

    answering: Coroutine[Any, Any, Any]
    done: Callable[[Any], None]
    told: Joined | Exception | None = None


async def joined(model: Predictor, row: Values) -> Joined | None:
    """Give a row's score, or None where nobody gathers; raises what the model does."""
    return await _Asked(model, row) if _gathering.get() else None


def at_once(answering: Coroutine[Any, Any, T]) -> T:
    """Give what a coroutine that waits for nothing returns."""
    try:
        answering.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    answering.close()
    raise RuntimeError("what was to be answered at once waits for something")


class Together:
    """Coroutines that wait for nothing but models on this event loop."""

    def __init__(self) -> None:
        """Gather none yet."""
        self._asked: list[tuple[_Waiting, Predictor, Values]] = []

    def add(self, answering: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Begin one more, whose result `done` is given; what it asks of a model waits for others, or for `run`."""
        self._step(_Waiting(answering, done))
        if len(self._asked) >= TOGETHER:
            self.run()

    def run(self) -> None:
        """Bring all that was begun to its end."""
        while self._asked:
            asked, self._asked = self._asked, []
            models: dict[Predictor, list[tuple[_Waiting, Values]]] = {}
            for one, model, row in asked:
                models.setdefault(model, []).append((one, row))
            for model, waiting in models.items():
                for one in _told(model, waiting):
                    self._step(one)

    def _step(self, one: _Waiting) -> None:
        """Go on with a coroutine until it asks a model, or ends."""
        answering, done, told = one
        token = _gathering.set(True)
        try:
            wants = answering.throw(told) if isinstance(told, Exception) else answering.send(told)
        except StopIteration as end:
            result = end.value
        else:
            self._asked.append((one, wants.model, wants.row))
            return
        finally:
            _gathering.reset(token)
        done(result)


def _told(model: Predictor, waiting: list[tuple[_Waiting, Values]]) -> list[_Waiting]:
    """Run a model once; where that fails, once a row: whose row it was is told so, and nobody else."""
    started = time.perf_counter()
    try:
        scores = at_once(model.predict([row for _, row in waiting]))
    except ModelFailed:
        scores = ()
    if len(scores) != len(waiting):
        return [_Waiting(one.answering, one.done, _alone(model, row)) for one, row in waiting]
    seconds, rows = time.perf_counter() - started, len(waiting)
    return [
        _Waiting(one.answering, one.done, Joined(score, seconds, rows))
        for (one, _), score in zip(waiting, scores, strict=True)
    ]


def _alone(model: Predictor, row: Values) -> Joined | Exception:
    started = time.perf_counter()
    try:
        scores = at_once(model.predict([row]))
    except ModelFailed as exc:
        return exc
    if len(scores) != 1:
        return ModelFailed(f"the model gave {len(scores)} predictions for 1 rows")
    return Joined(scores[0], time.perf_counter() - started, 1)
