"""What one more row costs a worker's batch, learned from the batches it has run."""

__all__ = ["BatchCost"]

DECAY = 0.9  # a batch


class BatchCost:
    """A line through recent batches, their seconds over their rows, by exponentially weighted least squares.

    A model that takes as long for many rows as for one has no slope: its queue goes with the next batch, however long,
    and refusing anybody would help nobody. Until batches of different sizes were seen the slope is 0.

    >>> cost = BatchCost()
    >>> for rows in (1, 4, 2, 8):
    ...     cost.note(rows, 0.010 + 0.005 * rows)
    >>> round(cost.row_seconds, 6)
    0.005
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.row_seconds = 0.0
        self._weight = self._n = self._t = self._nn = self._nt = 0.0

    def note(self, rows: int, seconds: float) -> None:
        """Take in one batch."""
        sums = ((1.0, "_weight"), (rows, "_n"), (seconds, "_t"), (rows * rows, "_nn"), (rows * seconds, "_nt"))
        for value, name in sums:
            setattr(self, name, DECAY * getattr(self, name) + value)
        n, t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - n * n
        if variance > 0.01 * n * n:
            slope = (self._nt / self._weight - n * t) / variance
            self.row_seconds = min(max(0.0, slope), t / n)
