"""What one more row costs a worker's batch, learned from the batches it has run."""

import math

__all__ = ["BatchCost"]

DECAY = 0.97  # a batch
SURPRISE = 2.0  # times what was expected: what one batch takes beyond is the machine's doing
DOUBT = 3.0  # standard errors of the slope, that are taken from it
FEW = 3.0  # batches, by their weight, that make no expectation


class BatchCost:
    """A line through recent batches, their seconds over their rows, by exponentially weighted least squares.

    A model that takes as long for many rows as for one has no slope: its queue goes with the next batch, however long,
    and refusing anybody would help nobody. Until batches of different sizes were seen the slope is 0. One batch that takes
    ten times as long as any, because its worker waited for a core, tells little; the price is that a model which is ten times
    slower from now on is known for it after some 150 batches only. The slope is given less three of its standard errors:
    nobody is refused for batches that differ for other reasons than their rows.

    >>> cost = BatchCost()
    >>> for rows in (1, 4, 2, 8):
    ...     cost.note(rows, 0.010 + 0.005 * rows)
    >>> round(cost.row_seconds, 6)
    0.005
    >>> cost.note(4, 0.300)
    >>> cost.row_seconds < 0.005
    True
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.row_seconds = 0.0
        self._weight = self._n = self._t = self._nn = self._nt = self._tt = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Take in one batch."""
        if self._weight > FEW:
            seconds = min(seconds, SURPRISE * self._expected(rows))
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

    def _expected(self, rows: int) -> float:
        return (self._t + self.row_seconds * (rows * self._weight - self._n)) / self._weight
