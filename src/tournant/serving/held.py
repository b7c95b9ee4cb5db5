"""A revision that is loaded: asks its model, checks what it says, and keeps what is known of its health."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tournant.domain.registry import Output, Signature
from tournant.messages.routing import RevisionRoute
from tournant.serving.failures import DeadlinePassed, ModelFailed
from tournant.serving.latency import RecentLatency
from tournant.serving.outputs import Score, check_scores
from tournant.serving.pace import Pace
from tournant.serving.predictor import Predictor
from tournant.serving.schema import Values
from tournant.serving.split import Breaker
from tournant.serving.together import deadline, joined
from tournant.serving.tracing import model_span, traced

__all__ = ["Held", "Outcome"]


class Outcome(NamedTuple):
    """How asking a model went: `scores` or an `error`; `latency_ms` is the call's time divided by its rows.

    `shared_ms` is the whole time of a run that was shared with other requests, 0 where it was not.
    """

    scores: Sequence[Score] | None
    latency_ms: float
    error: ModelFailed | None = None
    shared_ms: float = 0.0


class Held:
    """One loaded revision."""

    def __init__(self, route: RevisionRoute, predictor: Predictor) -> None:
        """Serve `route` by `predictor`."""
        self.id = route.id
        self.route = route
        self.version = route.model.version
        self.signature: Signature = route.signature
        self.output: Output = route.signature.output
        self.predictor = predictor
        self.latency = RecentLatency()
        self.breaker = Breaker()
        self.pace = Pace()
        self.in_flight = 0

    async def ask(self, rows: Sequence[Values], timeout_seconds: float, *, alone: bool = True) -> Outcome:
        """Ask the model once for `rows`; never raises what a model does.

        A model on the event loop cannot be interrupted: it is late by the clock, but its answer is there and counts. Unless
        it has to be asked `alone`, a row may run with those of other requests; its latency is its share of that run.
        """
        started = time.perf_counter()
        shared = None
        scores: Sequence[Any]
        self.in_flight += 1
        try:
            if not (alone or traced()) and len(rows) == 1 and self.predictor.inline:
                shared = await joined(self.predictor, rows[0])
            if shared:
                scores = (shared.score,)
            else:
                with model_span(self.id, len(rows)):
                    scores = await self._predict(rows, timeout_seconds)
            found, error = check_scores(scores, len(rows), self.output), None
        except ModelFailed as exc:
            found, error = None, exc
        finally:
            self.in_flight -= 1
        seconds = shared.seconds / shared.rows if shared else (time.perf_counter() - started) / len(rows)
        self.latency.note(seconds * 1e3)
        return Outcome(found, seconds * 1e3, error, shared.seconds * 1e3 if shared else 0.0)

    async def drain(self, timeout_seconds: float = 30.0) -> None:
        """Wait for requests in flight, then let the model go."""
        deadline = time.monotonic() + timeout_seconds
        while self.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        await self.predictor.close()

    async def _predict(self, rows: Sequence[Values], timeout_seconds: float) -> Sequence[Score]:
        if self.predictor.inline:
            return await self.predictor.predict(rows)
        if self.in_flight == 1:
            self.pace.begin()
        try:
            async with deadline(timeout_seconds):
                return await self.predictor.predict(rows)
        except TimeoutError as exc:
            raise DeadlinePassed(f"no answer within its deadline of {timeout_seconds * 1e3:.0f} ms") from exc
        finally:
            self.pace.answered()
