"""Counts of what each revision did since the last report."""

from bisect import bisect_left
from collections.abc import Container
from typing import NamedTuple

from tournant.domain.latency import LATENCY_BOUNDS_MS
from tournant.domain.rollout import SCORE_BINS
from tournant.messages.gateway import Delta

__all__ = ["Cell", "Counters", "Stream"]

HOUR_SECONDS = 3600.0
_LAST_BIN = SCORE_BINS - 1e-9  # a score of 1 is in the last bin


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
        "clusters",
        "errors",
        "fallbacks",
        "latency",
        "latency_sum_ms",
        "over_slo",
        "pair_squares",
        "pair_sum",
        "pairs",
        "requests",
        "rows",
        "score_bins",
        "score_squares",
        "score_sum",
    )

    def __init__(self) -> None:
        """Start at nothing."""
        self.clusters: dict[str, list[int]] = {}  # by group of entities: requests, errors, over the SLO
        self.rows = self.requests = self.errors = self.fallbacks = self.over_slo = self.pairs = 0
        self.latency_sum_ms = self.score_sum = self.score_squares = self.pair_sum = self.pair_squares = 0.0
        self.latency = [0] * (len(LATENCY_BOUNDS_MS) + 1)
        self.score_bins = [0] * SCORE_BINS

    def answered(self, latency_ms: float, slo_ms: float, group: int | None = None, *, timed: bool = True) -> None:
        """Count one request that got its predictions; `latency_ms` is a row's, `group` its entity's where that splits.

        Only what is `timed` is counted by its latency: of a request that ran in company, where others are compared, is
        said only whether it was over the SLO.
        """
        self._asked(group, over=latency_ms > slo_ms)
        if timed:
            self._timed(latency_ms)

    def scored(self, score: float) -> None:
        """Count one prediction's score."""
        self.rows += 1
        if 0.0 <= score <= 1.0:
            self.score_bins[int(score * _LAST_BIN)] += 1
        self.score_sum += score
        self.score_squares += score * score

    def failed(
        self, latency_ms: float, slo_ms: float, group: int | None = None, *, fallback: bool, timed: bool = True
    ) -> None:
        """Count one request without predictions; `fallback` if stable answered it."""
        self.errors += 1
        self.fallbacks += fallback
        self._asked(group, over=latency_ms > slo_ms, failed=1)
        if timed:
            self._timed(latency_ms)

    def late(self, latency_ms: float, group: int | None = None, *, fallback: bool) -> None:
        """Count one request whose answer was no longer waited for: no error, but over any SLO."""
        self.fallbacks += fallback
        self._asked(group, over=True)
        self._timed(latency_ms)

    def bypassed(self) -> None:
        """Count one request that an open circuit breaker kept from the revision: no evidence, it was not asked."""
        self.fallbacks += 1

    def _asked(self, group: int | None, *, over: bool, failed: int = 0) -> None:
        self.requests += 1
        self.over_slo += over
        if group is not None:
            counts = self.clusters.setdefault(str(group), [0, 0, 0])
            counts[0] += 1
            counts[1] += failed
            counts[2] += over

    def _timed(self, latency_ms: float) -> None:
        self.latency_sum_ms += latency_ms
        self.latency[bisect_left(LATENCY_BOUNDS_MS, latency_ms)] += 1

    def add(self, other: "Cell") -> None:
        """Add another's sums, but for its groups of entities."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latency = [mine + theirs for mine, theirs in zip(self.latency, other.latency, strict=True)]

    def paired(self, difference: float) -> None:
        """Count a shadow's score minus the answered one."""
        self.pairs += 1
        self.pair_sum += difference
        self.pair_squares += difference * difference


_SUMS = tuple(name for name in Cell.__slots__ if name not in ("latency", "score_bins", "clusters"))


class Counters:
    """All cells since the last `take`. Belongs to the event loop."""

    def __init__(self) -> None:
        """Start empty."""
        self._cells: dict[tuple[Stream, float], Cell] = {}
        self._totals: dict[tuple[str, str, str], Cell] = {}

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
        _add(self._totals, cells)
        return tuple(_delta(stream, bucket, cell) for (stream, bucket), cell in cells.items())

    def forget(self, revisions: Container[str]) -> None:
        """Drop the totals of revisions; what is not reported yet will be."""
        self._totals = {key: cell for key, cell in self._totals.items() if key[1] not in revisions}

    def revisions(self) -> set[str]:
        """Name the revisions that have totals."""
        return {key[1] for key in self._totals}

    def totals(self) -> dict[tuple[str, str, str], Cell]:
        """Give all counts since the start by deployment, revision and role."""
        totals: dict[tuple[str, str, str], Cell] = {}
        for key, cell in self._totals.items():
            totals[key] = Cell()
            totals[key].add(cell)
        _add(totals, self._cells)
        return totals


def _add(totals: dict[tuple[str, str, str], Cell], cells: dict[tuple[Stream, float], Cell]) -> None:
    for (stream, _), cell in cells.items():
        totals.setdefault((stream.deployment, stream.revision, stream.role), Cell()).add(cell)


def _delta(stream: Stream, bucket: float, cell: Cell) -> Delta:
    sums = {name: getattr(cell, name) for name in _SUMS}
    clusters = {group: (counts[0], counts[1], counts[2]) for group, counts in cell.clusters.items()}
    return Delta(
        **stream._asdict(),
        bucket=bucket,
        latency=tuple(cell.latency),
        score_bins=tuple(cell.score_bins),
        clusters=clusters,
        **sums,
    )
