"""Drift: whether a window's columns still come from the reference's distribution, judged by units and not by rows.

The reference is a list of units (days), each a profile a column. How much a column moves by chance is learned by
resampling: windows of the current window's own length and size, made of contiguous blocks of reference units, against
references resampled likewise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tournant.domain.profile import ColumnProfile, merge_columns

__all__ = [
    "ColumnDrift",
    "DriftResult",
    "benjamini_hochberg",
    "chi_squared",
    "detect_drift",
    "jensen_shannon",
    "kolmogorov_smirnov",
    "psi",
    "wasserstein",
]

Floats = npt.NDArray[np.float64]
_SMOOTHING = 0.5  # rows added to every cell: an empty cell is rare, not impossible
_FEWEST_UNITS = 5  # fewer say nothing of how units differ
REPLICATES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """How far one column moved. `p_value` is the share of resampled windows that moved as far by chance.

    It is None where the effect is below the floor, as nothing depends on it then. `shift` says which share grew most.
    """

    column: str
    psi: float
    jensen_shannon: float
    distance: float | None = None  # Kolmogorov-Smirnov, from bins; numbers only
    p_value: float | None = None
    drifted: bool = False
    shift: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """All columns, the furthest moved first; `reason` says what the judgement rests on."""

    columns: tuple[ColumnDrift, ...] = ()
    reason: str = ""

    @property
    def drifted(self) -> tuple[ColumnDrift, ...]:
        """The columns that moved both surely and far."""
        return tuple(column for column in self.columns if column.drifted)


def psi(reference: npt.ArrayLike, window: npt.ArrayLike) -> Floats:
    """Give the population stability index of counts by cell (the last axis), each cell smoothed by half a row.

    The symmetric Kullback-Leibler divergence: `Σ (w - r) ln(w / r)` over shares; by convention .1 is a moderate and .25 a
    large shift (Siddiqi 2006).

    >>> round(float(psi([500, 500], [700, 300])), 3)
    0.169
    """
    r, w = _shares(reference), _shares(window)
    result: Floats = ((w - r) * np.log(w / r)).sum(axis=-1)
    return result


def jensen_shannon(reference: npt.ArrayLike, window: npt.ArrayLike) -> float:
    """Give the Jensen-Shannon distance (base 2, between 0 and 1) of counts by cell (Lin 1991).

    >>> round(jensen_shannon([500, 500], [700, 300]), 3)
    0.174
    """
    r, w = _shares(reference), _shares(window)
    middle = (r + w) / 2
    divergence = (r * np.log2(r / middle) + w * np.log2(w / middle)).sum() / 2
    return math.sqrt(max(float(divergence), 0.0))


def chi_squared(reference: npt.ArrayLike, window: npt.ArrayLike) -> tuple[float, float]:
    """Give Pearson's statistic of two rows of counts by cell, and its p-value if all rows were independent.

    >>> statistic, p_value = chi_squared([500, 500], [550, 450])
    >>> round(statistic, 2), round(p_value, 3)
    (5.01, 0.025)
    """
    from scipy.special import gammaincc  # start-up time: a tenth of a server's

    table = np.array([reference, window], dtype=np.float64)
    table = table[:, table.sum(axis=0) > 0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float((np.square(table - expected) / expected).sum())
    freedom = table.shape[1] - 1
    return statistic, float(gammaincc(freedom / 2, statistic / 2)) if freedom else 1.0


def kolmogorov_smirnov(reference: npt.ArrayLike, window: npt.ArrayLike) -> float:
    """Give the largest difference of cumulative shares at the bins' edges (at most the rows' own statistic).

    >>> kolmogorov_smirnov([50, 50, 0], [25, 25, 50])
    0.5
    """
    r, w = (np.asarray(counts, dtype=np.float64) for counts in (reference, window))
    if not r.sum() or not w.sum():
        return 0.0
    return float(np.abs(np.cumsum(r / r.sum()) - np.cumsum(w / w.sum())).max())


def wasserstein(edges: Sequence[float], reference: npt.ArrayLike, window: npt.ArrayLike) -> float:
    """Give the area between the two cumulative shares from the first edge to the last, in the column's own unit.

    What lies outside the edges is taken to lie at them.

    >>> wasserstein([0.0, 10.0], [50, 50, 0], [50, 0, 50])
    5.0
    """
    r, w = (np.asarray(counts, dtype=np.float64) for counts in (reference, window))
    if len(edges) < 2 or not r.sum() or not w.sum():
        return 0.0
    gap = np.abs(np.cumsum(r / r.sum()) - np.cumsum(w / w.sum()))
    return float((gap[1:-1] * np.diff(edges)).sum())


def benjamini_hochberg(p_values: npt.ArrayLike, alpha: float) -> npt.NDArray[np.bool_]:
    """Tell which hypotheses to reject so that the expected share of false ones among them is at most alpha (1995).

    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5], 0.05).tolist()
    [True, False, False, False]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values)
    passing = np.flatnonzero(values[order] <= alpha * np.arange(1, len(values) + 1) / max(len(values), 1))
    rejected = np.zeros(len(values), dtype=bool)
    if len(passing):
        rejected[order[: passing[-1] + 1]] = True
    return rejected


def detect_drift(
    reference: Sequence[Mapping[str, ColumnProfile]],
    window: Mapping[str, ColumnProfile],
    *,
    units: int,
    alpha: float,
    floor: float,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> DriftResult:
    """Compare a window of `units` units with the reference's units, column by column.

    A column drifted if Benjamini-Hochberg at `alpha` rejects it among all columns, and its PSI is at least `floor`.
    A reference of fewer than two windows has too few blocks: single units are then resampled, and with fewer than five
    units rows, as if they were independent; the reason says so.
    """
    names = [name for name in (reference[0] if reference else ()) if name in window and window[name].rows]
    if not names:
        return DriftResult(reason="no column is in both the reference and the window")
    rng = np.random.default_rng(seed)
    length = _block_length(len(reference), units)
    draws = _block_draws(rng, len(reference), units, length, replicates) if length else None
    found = [_column_drift(name, reference, window[name], floor, draws, rng, replicates) for name in names]
    # p = 1 for columns under the floor: all columns count as tested, so the false discovery rate only gets smaller
    rejected = benjamini_hochberg([1.0 if c.p_value is None else c.p_value for c in found], alpha)
    judged = [_judged(column, surely=bool(sure), floor=floor) for column, sure in zip(found, rejected, strict=True)]
    judged.sort(key=lambda column: (-column.drifted, -column.psi))
    return DriftResult(columns=tuple(judged), reason=_reason(len(reference), units, length))


def _block_length(units: int, window: int) -> int:
    """Give how many units in a row are resampled together; 0 for rows instead of units."""
    if units < _FEWEST_UNITS:
        return 0
    return math.isqrt(window - 1) + 1 if units >= 2 * window else 1


def _reason(units: int, window: int, length: int) -> str:
    if length > 1:
        return f"against windows of {window} units resampled from {units} reference units in blocks of {length}"
    if length == 1:
        return f"against windows resampled unit by unit: {units} reference units are fewer than two windows of {window}"
    return (
        f"rows were taken as independent, because {units} reference units are fewer than {_FEWEST_UNITS}: "
        "chance differences between units may look like drift"
    )


def _judged(column: ColumnDrift, *, surely: bool, floor: float) -> ColumnDrift:
    return ColumnDrift(
        column=column.column,
        psi=column.psi,
        jensen_shannon=column.jensen_shannon,
        distance=column.distance,
        p_value=column.p_value,
        drifted=surely and column.psi >= floor,
        shift=column.shift,
    )


def _block_draws(
    rng: np.random.Generator, units: int, window: int, length: int, replicates: int
) -> tuple[Floats, Floats]:
    """Draw weights of the units for resampled windows and references: moving blocks on a circle (Politis, Romano 1992)."""
    return _weights(rng, units, window, length, replicates), _weights(rng, units, units, length, replicates)


def _weights(rng: np.random.Generator, units: int, size: int, length: int, replicates: int) -> Floats:
    starts = rng.integers(units, size=(replicates, -(-size // length)))
    taken = (starts[:, :, None] + np.arange(length)) % units
    taken = taken.reshape(replicates, -1)[:, :size]
    flat = np.bincount((taken + units * np.arange(replicates)[:, None]).ravel(), minlength=units * replicates)
    return flat.reshape(replicates, units).astype(np.float64)


def _column_drift(
    name: str,
    reference: Sequence[Mapping[str, ColumnProfile]],
    window: ColumnProfile,
    floor: float,
    draws: tuple[Floats, Floats] | None,
    rng: np.random.Generator,
    replicates: int,
) -> ColumnDrift:
    profiles = [unit[name] for unit in reference]
    whole = merge_columns(profiles)
    labels = whole.cells()
    matrix = np.array([profile.counts_of(labels) for profile in profiles], dtype=np.float64)
    total, counts = matrix.sum(axis=0), np.array(window.counts_of(labels), dtype=np.float64)
    moved = float(psi(total, counts))
    p_value = None
    if moved >= floor:
        if draws is None:
            nulls, references = _row_draws(rng, total, counts.sum(), replicates)
        else:
            nulls, references = _thinned(rng, draws[0] @ matrix, counts.sum()), draws[1] @ matrix
        p_value = float((1 + (psi(references, nulls) >= moved).sum()) / (replicates + 1))
    return ColumnDrift(
        column=name,
        psi=moved,
        jensen_shannon=jensen_shannon(total, counts),
        distance=kolmogorov_smirnov(total[1:], counts[1:]) if window.type == "number" else None,
        p_value=p_value,
        shift=_shift(labels, total, counts),
    )


def _row_draws(rng: np.random.Generator, total: Floats, rows: float, replicates: int) -> tuple[Floats, Floats]:
    shares = total / max(total.sum(), 1.0)
    size = (replicates, len(total))
    return rng.poisson(shares * rows, size).astype(np.float64), rng.poisson(total, size).astype(np.float64)


def _thinned(rng: np.random.Generator, counts: Floats, rows: float) -> Floats:
    """Bring resampled windows to the current window's rows, with the noise that fewer rows have."""
    sizes = counts.sum(axis=1, keepdims=True)
    scaled: Floats = counts * rows / np.maximum(sizes, 1.0)
    if rows >= 0.9 * float(sizes.mean()):
        return scaled
    noisy: Floats = np.maximum(scaled + np.sqrt(scaled) * rng.standard_normal(scaled.shape), 0.0)
    return noisy


def _shift(labels: Sequence[str], reference: Floats, window: Floats) -> str:
    """Say which cell's share grew most, and from what to what."""
    r, w = reference / max(reference.sum(), 1.0), window / max(window.sum(), 1.0)
    most = int(np.argmax(w - r))
    return f"{labels[most]}: {r[most]:.0%} -> {w[most]:.0%}"


def _shares(counts: npt.ArrayLike) -> Floats:
    smooth = np.asarray(counts, dtype=np.float64) + _SMOOTHING
    result: Floats = smooth / smooth.sum(axis=-1, keepdims=True)
    return result
