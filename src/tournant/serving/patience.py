"""How long a worker may keep a batch before it counts as hung."""

__all__ = ["Patience"]

LONGEST_SECONDS = 10.0
SHORTEST_SECONDS = 0.8  # noticed within a second
FACTOR = 10.0  # times what the slowest batch of late, or the slowest row of late, makes expected
KNOWN_BATCHES = 3
FORGETTING = 0.995  # a batch


class Patience:
    """Learns from the batches a model has run: ten times what is to be expected, between 0.8 and 10 seconds.

    Expected is the slowest batch of late, or for more rows than it had, as many times the slowest row.

    A model that is slower now and then than ever before loses a worker for it; each time the patience doubles, so that
    this does not go on.

    >>> patience = Patience()
    >>> patience.seconds(1)
    10.0
    >>> for _ in range(3):
    ...     patience.note(1, 0.005)
    >>> patience.seconds(1), patience.seconds(64)
    (0.8, 3.2)
    >>> patience.tried()
    >>> patience.seconds(1)
    1.6
    """

    def __init__(self, longest_seconds: float = LONGEST_SECONDS) -> None:
        """Know nothing yet: patient for `longest_seconds`."""
        self._longest = longest_seconds
        self._slowest = 0.0
        self._slowest_row = 0.0
        self._batches = 0
        self._least = min(SHORTEST_SECONDS, longest_seconds)

    def seconds(self, rows: int) -> float:
        """Give how long a batch of `rows` may take."""
        if self._batches < KNOWN_BATCHES:
            return self._longest
        expected = max(self._slowest, rows * self._slowest_row)
        return min(self._longest, max(self._least, FACTOR * expected))

    def note(self, rows: int, seconds: float) -> None:
        """Take in a batch that was answered."""
        self._batches += 1
        self._slowest = max(seconds, FORGETTING * self._slowest)
        self._slowest_row = max(seconds / rows, FORGETTING * self._slowest_row)

    def tried(self) -> None:
        """Be twice as patient from now on: it ran out."""
        self._least = min(self._longest, 2 * self._least)
