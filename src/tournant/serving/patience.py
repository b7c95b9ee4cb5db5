"""How long a worker may keep a batch before it counts as hung."""

__all__ = ["Patience"]

LONGEST_SECONDS = 10.0
SHORTEST_SECONDS = 0.8  # noticed within a second
FACTOR = 10.0  # times the slowest batch of late
KNOWN_BATCHES = 3
FORGETTING = 0.995  # a batch
ROW_SECONDS = 0.01


class Patience:
    """Learns from the batches a model has run: ten times the slowest of late, between 0.8 and 10 seconds.

    A model that is slower now and then than ever before loses a worker for it; each time the patience doubles, so that
    this does not go on.

    >>> patience = Patience()
    >>> patience.seconds(0)
    10.0
    >>> for _ in range(3):
    ...     patience.note(0.005)
    >>> patience.seconds(0)
    0.8
    >>> patience.tried()
    >>> patience.seconds(0)
    1.6
    """

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        """Know nothing yet: patient for `longest_seconds`."""
        self._longest = longest_seconds
        self._slowest = 0.0
        self._batches = 0
        self._least = min(SHORTEST_SECONDS, longest_seconds)

    def seconds(self, rows: int) -> float:
        """Give how long a batch of `rows` may take."""
        if self._batches < KNOWN_BATCHES:
            return self._longest + ROW_SECONDS * rows
        return min(self._longest, max(self._least, FACTOR * self._slowest)) + ROW_SECONDS * rows

    def note(self, seconds: float) -> None:
        """Take in a batch that was answered."""
        self._batches += 1
        self._slowest = max(seconds, FORGETTING * self._slowest)

    def tried(self) -> None:
        """Be twice as patient from now on: it ran out."""
        self._least = min(self._longest, 2 * self._least)
