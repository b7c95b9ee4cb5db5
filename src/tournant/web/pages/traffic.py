"""Served requests, summed and cut into chart series."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tournant.domain.latency import LATENCY_BOUNDS_MS, latency_bucket
from tournant.domain.predictions import Traffic
from tournant.web.pages.ask import Ask

__all__ = ["Served", "read_traffic", "served", "split_buckets"]

HOUR = 3600.0
_BOUNDS = {latency_bucket(i): i for i in range(len(LATENCY_BOUNDS_MS) + 1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Requests over a span of business time; latencies in milliseconds."""

    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    over_slo: int = 0
    per_second: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None

    @property
    def error_share(self) -> float | None:
        """Errors among requests."""
        return self.errors / self.requests if self.requests else None


def read_traffic(ask: Ask, deployment: str, start: float) -> list[Traffic]:
    """Read a deployment's traffic since `start`."""
    return ask.uow.find(Traffic, deployment=deployment, bucket__gt=start - HOUR, order="bucket")


def served(rows: Iterable[Traffic], seconds: float | None = None) -> Served:
    """Sum traffic; the rate is over `seconds`."""
    rows = list(rows)
    requests = sum(row.requests for row in rows)
    counts = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    for row in rows:
        for bound, n in (row.histogram or {}).items():
            counts[_BOUNDS.get(bound, len(LATENCY_BOUNDS_MS))] += n
    return Served(
        requests=requests,
        errors=sum(row.errors for row in rows),
        fallbacks=sum(row.fallbacks for row in rows),
        over_slo=sum(row.over_slo for row in rows),
        per_second=requests / seconds if seconds and rows else None,
        p50_ms=_quantile(counts, 0.5),
        p95_ms=_quantile(counts, 0.95),
        p99_ms=_quantile(counts, 0.99),
    )


def _quantile(counts: Sequence[int], q: float) -> float | None:
    """Interpolate within the histogram's bucket; the open last bucket gives its lower bound."""
    rank = q * sum(counts)
    if rank <= 0:
        return None
    below = 0
    for i, n in enumerate(counts):
        if n and below + n >= rank:
            low = LATENCY_BOUNDS_MS[i - 1] if i else 0.0
            high = LATENCY_BOUNDS_MS[i] if i < len(LATENCY_BOUNDS_MS) else low
            return low + (high - low) * (rank - below) / n
        below += n
    return float(LATENCY_BOUNDS_MS[-1])


def split_buckets(
    rows: Iterable[Traffic], start: float, end: float, most: int = 120
) -> tuple[float, list[list[Traffic]]]:
    """Cut traffic in [start, end) into at most `most` equal buckets of whole hours; give their width and contents."""
    hours = max(1, round((end - start) / HOUR))
    width = HOUR * next((n for n in (1, 2, 3, 6, 12, 24, 48, 96, 168) if hours / n <= most), 168 * 4)
    first = start - start % width
    buckets: list[list[Traffic]] = [[] for _ in range(int((end - first) // width) + 1)]
    for row in rows:
        if first <= row.bucket < end + HOUR:
            buckets[min(int((row.bucket - first) // width), len(buckets) - 1)].append(row)
    return width, buckets
