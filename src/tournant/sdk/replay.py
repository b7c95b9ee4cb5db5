"""The lockstep replay: drives a deployment through history, day by day, as its users and its labels would have.

For each day: the day's requests go through the gateway; then the labels that became known that day are posted; then the
clock is advanced to the day's end, which answers once everything that follows has happened (predictions registered,
labels joined, controllers quiet). So a replay of a year is repeatable, and takes minutes.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import uvloop

from tournant.errors import Invalid, Overloaded, Unavailable
from tournant.sdk.client import Client
from tournant.sdk.replay_answers import ReplayAnswers, Reply
from tournant.sdk.replay_connection import ReplayConnection, request_head
from tournant.sdk.replay_source import DAY_SECONDS, KnownLabel, PastRequest, RequestTable

__all__ = ["DayResult", "Replay"]

_LABELS_AT_ONCE = 10_000
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 2.0
_RECONNECT_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DayResult:
    """What the client saw of one day, from `start` to `end` (epoch seconds, UTC).

    `failed` counts requests that got no score; `over_budget` answers that took longer than the SLO; `answered` counts
    answers by model version; `latencies_ms` has one value for each request, failed ones too. `sending_seconds` is the real
    time of the day's traffic, `control_seconds` that of its labels and clock.
    """

    date: str
    start: float
    end: float
    requests: int
    failed: int
    over_budget: int
    labels: int
    answered: dict[str, int]
    latencies_ms: npt.NDArray[np.float64] = field(repr=False)
    sending_seconds: float
    control_seconds: float
    failure: str = ""  # the first one's reason

    def latency_ms(self, quantile: float) -> float | None:
        """Give a quantile of the day's latencies, such as 0.99; None without requests."""
        return float(np.quantile(self.latencies_ms, quantile)) if self.requests else None


class Replay:
    """Replays a table against a running deployment. `answers` holds every answer, to be checked against the prediction log.

    >>> replay = Replay(client, gateway_url=url, deployment="flights", table="later.parquet", label="late",
    ...                 label_delay_seconds=86_400, fraction=0.2)
    >>> for day in replay.run():
    ...     print(day.date, day.requests, day.failed, day.over_budget)  # doctest: +SKIP

    Requests never wait for the control plane; labels and clock are sent again, with growing pauses, while it does not
    answer, for `patience_seconds` at most. `days` ends the replay early; `start` begins it at a later event time. After the
    last day with requests come as many without as its labels need to be known.
    """

    def __init__(
        self,
        client: Client,
        *,
        gateway_url: str,
        deployment: str,
        table: str | Path,
        label: str = "label",
        key: str = "key",
        event_time: str = "event_time",
        inputs: Sequence[str] = (),
        label_delay_seconds: float = 0.0,
        slo_ms: float = 100.0,
        fraction: float = 1.0,
        days: int | None = None,
        start: float | None = None,
        concurrency: int = 8,
        token: str = "",
        timeout_seconds: float = 30.0,
        patience_seconds: float = 300.0,
    ) -> None:
        """Say what to replay, and against what; `run` does it."""
        if concurrency < 1 or (days is not None and days < 1) or label_delay_seconds < 0:
            raise Invalid("a replay needs at least one connection and one day, and labels that come after the request")
        self.slo_ms = slo_ms
        self.answers = ReplayAnswers()
        self.outages = 0  # times the control plane did not answer
        self._client = client
        self._gateway_url = gateway_url
        self._deployment = deployment
        self._source = {"path": Path(table), "label": label, "key": key, "event_time": event_time, "inputs": inputs}
        self._delay_seconds = label_delay_seconds
        self._fraction = fraction
        self._days = days
        self._start = start
        self._concurrency = concurrency
        self._head = request_head(gateway_url, f"/predict/{deployment}", token=token)
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds

    def run(self) -> Iterator[DayResult]:
        """Replay day by day; not from within a running event loop."""
        source: dict[str, Any] = self._source
        with (
            RequestTable(fraction=self._fraction, **source) as table,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            first, last = self._period(table)
            end = first
            while end < last + self._delay_seconds:
                day = end
                end = (day // DAY_SECONDS + 1) * DAY_SECONDS
                requests = table.requests(day, min(end, last)) if day < last else []
                known = table.labels(max(first, day - self._delay_seconds), min(end - self._delay_seconds, last))
                yield self._play(runner, day, end, requests, known)

    def _period(self, table: RequestTable) -> tuple[float, float]:
        """Give the replay's first event time and the end of its last day with requests."""
        span = table.span()
        if span is None:
            raise Invalid(
                "there is nothing to replay: the table has no rows, or the sample none of them", place="table"
            )
        first = max(span[0] // DAY_SECONDS * DAY_SECONDS, self._start or 0.0)
        last = (span[1] // DAY_SECONDS + 1) * DAY_SECONDS
        if first >= last:
            raise Invalid(f"there is nothing to replay after {_date(first)}", place="start")
        return first, min(last, (first // DAY_SECONDS + self._days) * DAY_SECONDS) if self._days else last

    def _play(
        self,
        runner: asyncio.Runner,
        start: float,
        end: float,
        requests: Sequence[PastRequest],
        known: Sequence[KnownLabel],
    ) -> DayResult:
        began = time.monotonic()
        replies = runner.run(self._send(requests))
        sent = time.monotonic()
        self._tell(known, end)
        self.answers.add(replies)
        failures = [reply for reply in replies if reply.failure]
        latencies = np.array([reply.latency_ms for reply in replies], dtype=np.float64)
        return DayResult(
            date=_date(start),
            start=start,
            end=end,
            requests=len(replies),
            failed=len(failures),
            over_budget=sum(not reply.failure and reply.latency_ms > self.slo_ms for reply in replies),
            labels=len(known),
            answered=dict(Counter(reply.version for reply in replies if not reply.failure)),
            latencies_ms=latencies,
            sending_seconds=sent - began,
            control_seconds=time.monotonic() - sent,
            failure=failures[0].failure if failures else "",
        )

    def _tell(self, known: Sequence[KnownLabel], now: float) -> None:
        """Post labels, then advance the clock."""
        for at in range(0, len(known), _LABELS_AT_ONCE):
            labels = [
                {"key": label.key, "value": label.value, "event_time": label.event_time + self._delay_seconds}
                for label in known[at : at + _LABELS_AT_ONCE]
            ]
            self._insist("labels.add", deployment=self._deployment, labels=labels)
        self._insist("clock.advance", now=now)

    def _insist(self, operation: str, **values: object) -> None:
        """Run an operation that may be run twice, again and again while the control plane does not answer."""
        deadline = time.monotonic() + self._patience_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                self._client.call(operation, **values)
                return
            except (Unavailable, Overloaded):
                if time.monotonic() + pause > deadline:
                    raise
            self.outages += 1
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _send(self, requests: Sequence[PastRequest]) -> list[Reply]:
        """Send requests in order over as many connections as are worth it, each with one request in flight."""
        waiting, replies = iter(enumerate(requests)), dict[int, Reply]()
        lanes = min(self._concurrency, len(requests))
        await asyncio.gather(*(self._drive(waiting, replies) for _ in range(lanes)))
        return [replies[index] for index in range(len(requests))]

    async def _drive(self, waiting: Iterator[tuple[int, PastRequest]], replies: dict[int, Reply]) -> None:
        connection: ReplayConnection | None = None  # a fresh one each day: an idle one may be closed any moment
        for index, request in waiting:
            began = time.perf_counter()
            try:
                if connection is None or not connection.usable:
                    connection = await ReplayConnection.open(self._gateway_url)
                    began = time.perf_counter()
                status, body = await connection.post(self._head, request.body, timeout_seconds=self._timeout_seconds)
                replies[index] = Reply.read(request.key, status, body, (time.perf_counter() - began) * 1e3)
            except OSError as exc:  # refused, lost or too late
                failure = f"{type(exc).__name__}: {exc}"
                replies[index] = Reply.failed(request.key, failure, (time.perf_counter() - began) * 1e3)
                await asyncio.sleep(_RECONNECT_SECONDS)
        if connection is not None:
            connection.close()


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
