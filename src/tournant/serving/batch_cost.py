"""What one more row costs a worker's batch, learned from the batches it has run."""

import math

__all__ = ["BatchCost"]

DECAY = 0.97  # a batch
SURPRISE = 2.0  # times what was expected: what one batch takes beyond is the machine's doing
DOUBT = 3.0  # standard errors of the slope, that are taken from it
FEW = 3.0  # batches, by their weight, that make no expectation
LASTING = 8  # surprises, one after the other, that are the model's doing,
LASTING_SECONDS = 0.25  # if they took so long together: quick ones may all be in one pause of the machine's


class BatchCost:
    """A line through recent batches, their seconds over their rows, by exponentially weighted least squares.

    A model that takes as long for many rows as for one has no slope: its queue goes with the next batch, however long,
    and refusing anybody would help nobody. Until batches of different sizes were seen the slope is 0. One batch that takes
    ten times as long as any, because its worker waited for a core, tells little; eight of them, one after the other
    and for a quarter of a second, say that the model has become another, and what was known of it is forgotten. The slope is
    given less three of its standard errors: nobody is refused for batches that differ for other reasons than their rows.

    >>> cost = BatchCost()
    >>> for rows in (1, 4, 2, 8):
    ...     cost.note(rows, 0.010 + 0.005 * rows)
    >>> round(cost.row_seconds, 6)
    0.005
    >>> cost.note(4, 0.300)
    >>> cost.row_seconds < 0.005
    True
    >>> for rows in (1, 4, 2, 8) * 3:
    ...     cost.note(rows, 0.100 + 0.050 * rows)
    >>> round(cost.row_seconds, 6)
    0.05
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.row_seconds = 0.0
        self._surprised = (0, 0.0)  # so many in a row, of so many seconds together
        self._weight = self._n = self._t = self._nn = self._nt = self._tt = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Take in one batch."""
        if self._weight > FEW:
            seconds = self._tempered(rows, seconds)
        sums = (
            *((1.0, "_weight"), (rows, "_n"), (seconds, "_t")),
            *((rows * rows, "_nn"), (rows * seconds, "_nt"), (seconds * seconds, "_tt")),
        )
        for value, name in sums:
            setattr(self, name, DECAY * getattr(self, name) + value)
        weight = self._weight
        n, t = self._n / weight, self._t / weight
        variance = self._nn / weight - n * n
        if variance > 0.01 * n * n:
            slope = (self._nt / weight - n * t) / variance
            scatter = max(0.0, self._tt / weight - t * t - slope * slope * variance)
            slope -= DOUBT * math.sqrt(scatter / (variance * weight))
            self.row_seconds = min(max(0.0, slope), t / n)

    def _tempered(self, rows: int, seconds: float) -> float:
        usual = SURPRISE * self._expected(rows)
        surprises, surprised_seconds = self._surprised
        self._surprised = (surprises + 1, surprised_seconds + seconds) if seconds > usual else (0, 0.0)
        if self._surprised[0] < LASTING or self._surprised[1] < LASTING_SECONDS:
            return min(seconds, usual)
        self._surprised = (0, 0.0)
        self._weight = self._n = self._t = self._nn = self._nt = self._tt = 0.0
        return seconds

    def _expected(self, rows: int) -> float:
        return (self._t + self.row_seconds * (rows * self._weight - self._n)) / self._weight
