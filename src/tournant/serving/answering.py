"""Answers requests: split, ask, fall back to stable, count, record, hand on to shadows."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tournant.serving.counters import Counters, Stream
from tournant.serving.deadlines import asked_seconds
from tournant.serving.endpoint import Arm, Endpoint, Part
from tournant.serving.failures import DeadlinePassed, ModelFailed
from tournant.serving.headers import Headers
from tournant.serving.held import Held, Outcome
from tournant.serving.identifiers import identifiers
from tournant.serving.outputs import Score, headline
from tournant.serving.schema import Request
from tournant.serving.shadows import Shadowed, Shadows
from tournant.serving.spool import Record, Spool

__all__ = ["Answer", "Answered", "Answerer", "Prediction"]

STABLE_TIMEOUT_SECONDS = 30.0
_new_ids = identifiers(12)
_BYPASSED = ModelFailed("bypassed: the circuit breaker is open after 5 errors in the last 20 requests")


class Prediction(msgspec.Struct, omit_defaults=True, gc=False):
    """One answered row. `revision` is named where one request was answered by several."""

    id: str
    score: float | msgspec.UnsetType = msgspec.UNSET
    label: str | msgspec.UnsetType = msgspec.UNSET
    scores: list[float] | msgspec.UnsetType = msgspec.UNSET
    revision: str | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, gc=False):
    """What `POST /predict/{deployment}` gives; of several revisions, `model_version` and `revision` are the first row's."""

    predictions: list[Prediction]
    model_version: str
    revision: str


class Answered:
    """One request on its way: identities of its rows, and the answers found so far; complete once it is handed out."""

    __slots__ = ("alone", "arms", "due", "endpoint", "entities", "event_time", "ids", "request", "scores", "timed")

    def __init__(self, endpoint: Endpoint, request: Request, headers: Headers, event_time: float) -> None:
        """Begin without answers."""
        self.endpoint = endpoint
        self.request = request
        self.event_time = event_time
        self.ids = [next(_new_ids) for _ in request.rows]
        self.entities = endpoint.entities(request.rows, headers)
        asked = asked_seconds(headers)
        self.due = None if asked is None else time.monotonic() + asked  # when its client stops waiting, if it said
        compared = endpoint.compares(len(self.ids))
        self.alone = compared is True
        self.timed = compared is not False
        self.scores: list[Any] = [None] * len(request.rows)  # a Score each, once answered
        self.arms: list[Any] = [None] * len(request.rows)  # the Arm that gave it

    @property
    def left_seconds(self) -> float:
        """How long its client will still wait; what does not say so waits for long."""
        return STABLE_TIMEOUT_SECONDS if self.due is None else max(0.0, self.due - time.monotonic())

    @property
    def held(self) -> Held:
        """The revision that answered the first row."""
        return self.arms[0].held  # type: ignore[no-any-return]

    @property
    def mixed(self) -> bool:
        """Whether several revisions answered."""
        return any(arm is not self.arms[0] for arm in self.arms)

    def labels(self) -> list[str]:
        """Name the most likely class of each row, of scores that are one probability a class."""
        return [_label(score, arm.held) for score, arm in zip(self.scores, self.arms, strict=True)]

    def named(self) -> Answer:
        """Give the answer of `POST /predict/{deployment}`."""
        if len(self.ids) == 1:
            held = self.arms[0].held
            return Answer([_prediction(self.ids[0], self.scores[0], held, mixed=False)], held.version, held.id)
        mixed = self.mixed
        rows = zip(self.ids, self.scores, self.arms, strict=True)
        return Answer([_prediction(i, s, arm.held, mixed=mixed) for i, s, arm in rows], self.held.version, self.held.id)


class Answerer:
    """The path of a request through one gateway. Belongs to the event loop."""

    def __init__(self, counters: Counters, spool: Spool, shadows: Shadows, now: Callable[[], float]) -> None:
        """Count, record and shadow there; `now` is business time."""
        self._counters = counters
        self._spool = spool
        self._shadows = shadows
        self._now = now

    async def answer(
        self, endpoint: Endpoint, request: Request, headers: Headers = (), only: Arm | None = None
    ) -> Answered:
        """Answer a request; ModelFailed if stable itself fails. `only` answers alone, and is not judged by it: it was asked for."""
        rows = Answered(endpoint, request, headers, self._now() if request.event_time is None else request.event_time)
        if only:
            await self._ask_stable(rows, Part(only, list(range(len(rows.ids)))), only.aside, fallback=False)
            return rows
        asked_canary: list[int] = []
        for part in endpoint.split(rows.entities):
            if part.arm.role == "canary":
                asked_canary = part.indexes
                await self._ask_canary(rows, part)
            else:
                await self._ask_stable(rows, part, part.arm.told, fallback=False)
        for arm in endpoint.shadows:
            # Stable or the canary may shadow what the other got, to be compared on the same requests; each has had its own.
            had = asked_canary if endpoint.canary and arm.held is endpoint.canary.held else ()
            self._shadow(rows, arm, had)
        endpoint.recent.append((endpoint.schema, request.rows[0]))
        return rows

    async def _ask_canary(self, rows: Answered, part: Part) -> None:
        """Let the canary answer; whatever goes wrong, stable does."""
        endpoint, held = rows.endpoint, part.arm.held
        if not held.breaker.allows():
            outcome = Outcome(None, 0.0, _BYPASSED)
        else:
            # Half of what a client in a hurry leaves is for stable.
            deadline_seconds = min(endpoint.canary_deadline_seconds(len(part.indexes)), rows.left_seconds / 2)
            outcome = await _ask(rows, part, deadline_seconds)
            held.breaker.note(failed=outcome.scores is None)
        if outcome.scores is not None:
            self._answered(rows, part, outcome, part.arm.told, fallback=False)
            return
        self._failed(rows, part, outcome, part.arm.told, fallback=True)
        # Those who failed on the canary are no random half of anything: no rollout may judge stable by them.
        await self._ask_stable(rows, Part(endpoint.stable, part.indexes), endpoint.stable.aside, fallback=True)

    async def _ask_stable(self, rows: Answered, part: Part, stream: Stream, *, fallback: bool) -> None:
        outcome = await _ask(rows, part, rows.left_seconds)
        if outcome.scores is None:
            self._failed(rows, part, outcome, stream, fallback=False)
            assert outcome.error
            raise outcome.error
        self._answered(rows, part, outcome, stream, fallback=fallback)

    def _answered(self, rows: Answered, part: Part, outcome: Outcome, stream: Stream, *, fallback: bool) -> None:
        assert outcome.scores is not None
        cell = self._counters.cell(stream, rows.event_time)
        latency_ms = outcome.latency_ms
        cell.answered(
            latency_ms if rows.timed else max(latency_ms, outcome.shared_ms),
            rows.endpoint.slo_ms,
            part.group,
            timed=rows.timed,
        )
        for index, score in zip(part.indexes, outcome.scores, strict=True):
            rows.scores[index] = score
            rows.arms[index] = part.arm
            cell.scored(headline(score))
            self._record(rows, part.arm, index, score, None, latency_ms, stream, fallback=fallback)

    def _failed(self, rows: Answered, part: Part, outcome: Outcome, stream: Stream, *, fallback: bool) -> None:
        cell = self._counters.cell(stream, rows.event_time)
        if outcome.error is _BYPASSED:
            cell.bypassed()
        elif isinstance(outcome.error, DeadlinePassed) and (fallback or rows.due is not None):
            cell.late(outcome.latency_ms, part.group, fallback=fallback)
        else:
            cell.failed(outcome.latency_ms, rows.endpoint.slo_ms, part.group, fallback=fallback, timed=rows.timed)
        for index in part.indexes:
            error = str(outcome.error)
            self._record(rows, part.arm, index, None, error, outcome.latency_ms, stream, fallback=False)

    def _record(
        self,
        rows: Answered,
        arm: Arm,
        index: int,
        score: Score | None,
        error: str | None,
        latency_ms: float,
        stream: Stream,
        *,
        fallback: bool,
    ) -> None:
        log = rows.endpoint.log
        if not log.keeps(rows.ids[index]):
            return
        self._spool.append(
            log.header,
            Record(
                rows.ids[index],
                rows.request.keys[index],
                log.entity(rows.entities[index]),
                rows.event_time,
                arm.held.id,
                arm.role,
                stream.rollout,
                stream.epoch,
                None if score is None else headline(score),
                score if isinstance(score, list) else None,
                error,
                latency_ms,
                fallback,
                None if arm.role == "shadow" else log.inputs(rows.request.rows[index]),
            ),
        )

    def _shadow(self, rows: Answered, arm: Arm, had: Sequence[int]) -> None:
        for index, row in enumerate(rows.request.rows):
            if index in had or rows.arms[index].held is arm.held:
                continue
            try:
                values = arm.values(row)
            except ModelFailed as exc:
                self._failed_shadow(rows, arm, index, exc)
                continue
            self._shadows.put(
                Shadowed(
                    arm,
                    rows.endpoint,
                    values,
                    rows.ids[index],
                    rows.request.keys[index],
                    rows.entities[index],
                    rows.event_time,
                    headline(rows.scores[index]),
                    time.monotonic(),
                )
            )

    def _failed_shadow(self, rows: Answered, arm: Arm, index: int, error: ModelFailed) -> None:
        self._failed(rows, Part(arm, [index]), Outcome(None, 0.0, error), arm.told, fallback=False)


async def _ask(rows: Answered, part: Part, timeout_seconds: float) -> Outcome:
    started = time.perf_counter()
    try:
        values = [part.arm.values(rows.request.rows[index]) for index in part.indexes]
    except ModelFailed as exc:  # a column only this revision needs
        return Outcome(None, (time.perf_counter() - started) * 1e3, exc)
    return await part.arm.held.ask(values, timeout_seconds, alone=rows.alone)


def _prediction(prediction_id: str, score: Score, held: Held, *, mixed: bool) -> Prediction:
    revision = held.id if mixed else msgspec.UNSET
    if not isinstance(score, list):
        return Prediction(prediction_id, score, revision=revision)
    return Prediction(prediction_id, label=_label(score, held), scores=score, revision=revision)


def _label(scores: list[float], held: Held) -> str:
    classes = held.output.classes
    best = max(range(len(scores)), key=scores.__getitem__)
    return classes[best] if best < len(classes) else str(best)
