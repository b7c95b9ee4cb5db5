"""Requests as the event loop's turns bring them, answered together: what they ask of one model is one run of it.

A small model's run costs several times what a row of it does, and a loop that alternates between models, JSON and sockets
finds its caches cold each time. What waits for something else (a worker, a thread) goes on where that tells of its end; a task
of asyncio's would have begun behind all that is read in a turn, and gone on behind all of the next.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from contextvars import copy_context
from typing import Any, NamedTuple, TypeVar

from tournant.serving.failures import ModelFailed
from tournant.serving.outputs import Score
from tournant.serving.predictor import Predictor
from tournant.serving.schema import Values

__all__ = ["Joined", "Later", "Together", "at_once", "deadline", "joined"]

T = TypeVar("T")
TOGETHER = 16  # requests: more would make the first wait for longer than it gains


class Joined(NamedTuple):
    """One row's score, from a run of so many `rows` that took `seconds`."""

    score: Score
    seconds: float
    rows: int


class Later(asyncio.Future[T]):
    """A future that tells a coroutine of `Together` of its end at once; a task hears of it from the event loop, as ever."""

    tell: Callable[[], None] | None = None

    def set_result(self, result: T) -> None:
        """Let who waits go on."""
        super().set_result(result)
        if self.tell:
            self.tell()

    def set_exception(self, exception: type | BaseException) -> None:
        """Let who waits fail."""
        super().set_exception(exception)
        if self.tell:
            self.tell()


class _Asked:
    """What a coroutine waits for: one row to have been run."""

    __slots__ = ("model", "row")

    def __init__(self, model: Predictor, row: Values) -> None:
        self.model = model
        self.row = row

    def __await__(self) -> Generator["_Asked", Joined, Joined]:
        return (yield self)


class _Answering:
    """One coroutine, in a context of its own; `done` is given its result."""

    __slots__ = ("_context", "_coroutine", "_done", "_together", "_waits")

    def __init__(self, together: "Together", coroutine: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        self._together = together
        self._coroutine = coroutine
        self._done = done
        self._context = copy_context()
        self._waits: asyncio.Future[Any] | None = None

    def step(self, told: Joined | Exception | None = None) -> None:
        """Go on until it asks a model, waits for something else, or ends."""
        before, _this_thread.steps = _this_thread.steps, self
        try:
            wants = self._context.run(self._go_on, told)
        except StopIteration as end:
            result = end.value
        except (Exception, asyncio.CancelledError) as exc:
            # A mistake of ours. Who told of what was waited for has others to tell, and goes on.
            context = {"message": "a request failed", "exception": exc}
            asyncio.get_running_loop().call_exception_handler(context)
            result = None
        else:
            self._wait(wants)
            return
        finally:
            _this_thread.steps = before
        self._done(result)

    def expire(self) -> None:
        """Raise TimeoutError where it waits."""
        waits, self._waits = self._waits, None
        if waits is None:
            return
        if isinstance(waits, Later):
            waits.tell = None
        else:
            waits.remove_done_callback(self._resume)
        waits.cancel()
        self._resume(TimeoutError())

    def _go_on(self, told: Joined | Exception | None) -> Any:
        return self._coroutine.throw(told) if isinstance(told, Exception) else self._coroutine.send(told)

    def _wait(self, wants: Any) -> None:
        if isinstance(wants, _Asked):
            self._together.asked(self, wants.model, wants.row)
            return
        if wants is None:  # asyncio.sleep(0)
            asyncio.get_running_loop().call_soon(self._resume)
            return
        wants._asyncio_future_blocking = False  # how a future that is awaited knows that somebody took it
        self._waits = wants
        if isinstance(wants, Later):
            wants.tell = self._resume
        else:
            wants.add_done_callback(self._resume)

    def _resume(self, told: Any = None) -> None:
        self._waits = None
        self.step(told if isinstance(told, TimeoutError) else None)
        self._together.run()  # what it asked: maybe no turn follows that would


class _Within:
    """A deadline of what is answered together."""

    def __init__(self, answering: _Answering, seconds: float) -> None:
        self._answering = answering
        self._seconds = seconds

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._seconds, self._answering.expire)

    async def __aexit__(self, *_exc: object) -> None:
        self._handle.cancel()


class _Thread(threading.local):
    steps: _Answering | None = None  # the one that is just gone on with


_this_thread = _Thread()


def deadline(seconds: float) -> AbstractAsyncContextManager[Any]:
    """Raise TimeoutError in what takes longer: `asyncio.timeout`, which needs a task, for coroutines of `Together` too."""
    answering = _this_thread.steps
    return _Within(answering, seconds) if answering else asyncio.timeout(seconds)


async def joined(model: Predictor, row: Values) -> Joined | None:
    """Give a row's score, or None where nobody gathers; raises what the model does."""
    return await _Asked(model, row) if _this_thread.steps else None


def at_once(answering: Coroutine[Any, Any, T]) -> T:
    """Give what a coroutine that waits for nothing returns."""
    try:
        answering.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    answering.close()
    raise RuntimeError("what was to be answered at once waits for something")


class Together:
    """Coroutines that wait for models on this event loop, and for futures. Belongs to the event loop."""

    def __init__(self) -> None:
        """Gather none yet."""
        self._asked: list[tuple[_Answering, Predictor, Values]] = []

    def add(self, answering: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Begin one more, whose result `done` is given (None, if it raises); what it asks of a model waits for others, or for `run`."""
        _Answering(self, answering, done).step()
        if len(self._asked) >= TOGETHER:
            self.run()

    def run(self) -> None:
        """Go on with all that was begun, until it ends or waits for something else than models."""
        while self._asked:
            asked, self._asked = self._asked, []
            models: dict[Predictor, list[tuple[_Answering, Values]]] = {}
            for one, model, row in asked:
                models.setdefault(model, []).append((one, row))
            for model, waiting in models.items():
                for (one, _), told in zip(waiting, _told(model, [row for _, row in waiting]), strict=True):
                    one.step(told)

    def asked(self, one: _Answering, model: Predictor, row: Values) -> None:
        """Note what one of them asks."""
        self._asked.append((one, model, row))


def _told(model: Predictor, rows: list[Values]) -> list[Joined | Exception]:
    """Run a model once; where that fails, once a row: whose row it was is told so, and nobody else."""
    started = time.perf_counter()
    try:
        scores = at_once(model.predict(rows))
    except ModelFailed:
        scores = ()
    if len(scores) != len(rows):
        return [_alone(model, row) for row in rows]
    seconds = time.perf_counter() - started
    return [Joined(score, seconds, len(rows)) for score in scores]


def _alone(model: Predictor, row: Values) -> Joined | Exception:
    started = time.perf_counter()
    try:
        scores = at_once(model.predict([row]))
    except ModelFailed as exc:
        return exc
    if len(scores) != 1:
        return ModelFailed(f"the model gave {len(scores)} predictions for 1 rows")
    return Joined(scores[0], time.perf_counter() - started, 1)
