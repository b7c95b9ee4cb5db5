"""Counts of what each revision did since the last report."""

from bisect import bisect_left
from typing import NamedTuple

from tournant.messages.gateway import LATENCY_BOUNDS_MS, Delta

__all__ = ["Cell", "Counters", "Stream"]

HOUR_SECONDS = 3600.0


class Stream(NamedTuple):
    """Whose counts these are. `rollout` is empty for what no rollout may judge, such as answers given as a fallback."""

    deployment: str
    revision: str
    role: str
    rollout: str
    epoch: int


class Cell:
    """Sums of one stream within one hour of event time."""

    __slots__ = (
        "errors",
        "fallbacks",
        "latency",
        "latency_sum_ms",
        "over_slo",
        "pair_squares",
        "pair_sum",
        "pairs",
        "requests",
        "score_squares",
        "score_sum",
    )

    def __init__(self) -> None:
        """Start at nothing."""
        self.requests = self.errors = self.fallbacks = self.over_slo = self.pairs = 0
        self.latency_sum_ms = self.score_sum = self.score_squares = self.pair_sum = self.pair_squares = 0.0
        self.latency = [0] * (len(LATENCY_BOUNDS_MS) + 1)

    def answered(self, score: float, latency_ms: float, slo_ms: float) -> None:
        """Count one prediction."""
        self.score_sum += score
        self.score_squares += score * score
        self.timed(latency_ms, slo_ms)

    def failed(self, latency_ms: float, slo_ms: float, *, fallback: bool) -> None:
        """Count one request without a prediction; `fallback` if stable answered it."""
        self.errors += 1
        self.fallbacks += fallback
        self.timed(latency_ms, slo_ms)

    def bypassed(self) -> None:
        """Count one request that an open circuit breaker kept from the revision: an error, without a latency."""
        self.requests += 1
        self.errors += 1
        self.fallbacks += 1

    def timed(self, latency_ms: float, slo_ms: float) -> None:
        """Count one request and its latency."""
        self.requests += 1
        self.latency_sum_ms += latency_ms
        self.latency[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1
        if latency_ms > slo_ms:
            self.over_slo += 1

    def paired(self, difference: float) -> None:
        """Count a shadow's score minus the answered one."""
        self.pairs += 1
        self.pair_sum += difference
        self.pair_squares += difference * difference


class Counters:
    """All cells since the last `take`. Belongs to the event loop."""

    def __init__(self) -> None:
        """Start empty."""
        self._cells: dict[tuple[Stream, float], Cell] = {}

    def cell(self, stream: Stream, event_time: float) -> Cell:
        """Give the sums to add to."""
        key = (stream, event_time - event_time % HOUR_SECONDS)
        found = self._cells.get(key)
        if found is None:
            found = self._cells[key] = Cell()
        return found

    def take(self) -> tuple[Delta, ...]:
        """Give the counts and start anew."""
        cells, self._cells = self._cells, {}
        return tuple(_delta(stream, bucket, cell) for (stream, bucket), cell in cells.items())


def _delta(stream: Stream, bucket: float, cell: Cell) -> Delta:
    sums = {name: getattr(cell, name) for name in Cell.__slots__ if name != "latency"}
    return Delta(**stream._asdict(), bucket=bucket, latency=tuple(cell.latency), **sums)
