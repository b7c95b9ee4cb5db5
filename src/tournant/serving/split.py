"""Who answers: the sticky split between stable and canary, and the local circuit breaker."""

import hashlib
from collections import deque
from typing import NamedTuple

from tournant.domain.clusters import CLUSTERS
from tournant.domain.deployment import WEIGHT_TOTAL

__all__ = ["Breaker", "Place", "split_place"]

_WINDOW = 20
_ERRORS = 5
_RETRY_EVERY = 20


class Place(NamedTuple):
    """Where an entity stands: on the canary while `bucket` is below its weight; counted with its `group`."""

    bucket: int
    group: int


def split_place(candidate: str, entity: str) -> Place:
    """Give the entity's place: a bucket in `[0, 10,000)`, and independently of it a group in `[0, 64)`.

    It depends on the candidate revision and the entity only, so raising a weight never moves an entity back, every
    rollout has other entities go first, and a replay splits the same way each time.

    >>> split_place("fraud/2", "N14228"), split_place("fraud/3", "N14228")
    (Place(bucket=8662, group=22), Place(bucket=5606, group=22))
    """
    digest = hashlib.blake2b(f"{candidate}\0{entity}".encode(errors="surrogatepass"), digest_size=8).digest()
    number, bucket = divmod(int.from_bytes(digest, "big"), WEIGHT_TOTAL)
    return Place(bucket, number % CLUSTERS)


class Breaker:
    """Stops asking a canary that fails again and again; counts requests, not time, so that a replay is deterministic.

    Open from the fifth error among the last 20 asked; every 20th bypassed request is tried, and one success closes it.
    """

    def __init__(self) -> None:
        """Start closed."""
        self._recent: deque[bool] = deque(maxlen=_WINDOW)
        self._errors = 0
        self._bypassed = 0
        self.open = False

    def allows(self) -> bool:
        """Tell whether the next request may be tried on the canary."""
        if not self.open:
            return True
        self._bypassed += 1
        return self._bypassed % _RETRY_EVERY == 0

    def note(self, *, failed: bool) -> None:
        """Take in how a tried request went."""
        if self.open and not failed:
            self._recent.clear()
            self._errors = 0
            self.open = False
        if len(self._recent) == _WINDOW:
            self._errors -= self._recent[0]
        self._recent.append(failed)
        self._errors += failed
        self.open = self.open or self._errors >= _ERRORS
