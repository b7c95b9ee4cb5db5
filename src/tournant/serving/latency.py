"""Recent latencies of a revision, for deadlines."""

from collections import deque

__all__ = ["RecentLatency", "quantile"]

_KEPT = 1000
_REFRESH = 128


def quantile(values: list[float], share: float) -> float:
    """Give the nearest-rank quantile of sorted `values`; 0 of none.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5), quantile([], 0.5)
    (2.0, 0.0)
    """
    if not values:
        return 0.0
    rank = -int(-share * len(values) // 1)  # rounded up
    return values[max(0, min(len(values), rank) - 1)]


class RecentLatency:
    """The last thousand latencies in milliseconds; p99.9 is worked out anew after every 128."""

    def __init__(self) -> None:
        """Know nothing yet: p99.9 is 0 until 128 were seen."""
        self._recent: deque[float] = deque(maxlen=_KEPT)
        self._since = 0
        self.p999_ms = 0.0

    def note(self, latency_ms: float) -> None:
        """Take in one more."""
        self._recent.append(latency_ms)
        self._since += 1
        if self._since >= _REFRESH:
            self._since = 0
            self.p999_ms = quantile(sorted(self._recent), 0.999)
