"""Mean differences over blocks of rows (days, hours), because rows of one block are not independent of each other."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tournant.domain.sequential import Interval

__all__ = ["Pairs", "block_interval", "concurrent_pairs"]

Floats = npt.NDArray[np.float64]
_PRIOR_BLOCKS = 0.1  # prior variance 10 of the standardised effect: finite from 5 blocks on at the levels rollouts use


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Losses of candidate and stable, and the difference (candidate minus stable) by block.

    `rows` labelled candidate rows; `stable` and `candidate` mean losses over rows; `mean` and `variance` (with 1/n) are of
    the `blocks` block differences. Blocks with fewer than half the median block's rows are left out of those: one
    just begun, or cut off, would be noise. Where rows are the blocks and are right or wrong, `discordant` counts those that
    only the candidate, and only stable, had wrong.
    """

    rows: int
    stable: float
    candidate: float
    blocks: int
    mean: float
    variance: float
    discordant: tuple[int, int] | None = None


def block_interval(blocks: int, mean: float, variance: float, *, alpha: float) -> Interval:
    """Give the time-uniform interval of the mean of Gaussian blocks with unknown variance (`variance` with 1/n).

    The sequential t-test's scale-invariant Gaussian mixture, inverted: Lai 1976; Wang and Ramdas 2024, "Anytime-valid
    t-tests and confidence sequences for Gaussian means with unknown variance". Exact from the second block on, where
    an asymptotic interval would need dozens of days; infinite as long as nothing can be said.

    >>> interval = block_interval(8, 0.3, 0.05**2, alpha=0.003)
    >>> round(interval.lower, 2), round(interval.upper, 2)
    (0.17, 0.43)
    >>> block_interval(2, 0.3, 0.05**2, alpha=0.003)
    Interval(lower=-inf, upper=inf)
    """
    if blocks < 2:
        return Interval(-math.inf, math.inf)
    spread = blocks + _PRIOR_BLOCKS
    tail = (alpha * math.sqrt(_PRIOR_BLOCKS / spread)) ** (2 / blocks)
    share = (1 - tail) * spread / blocks  # of the squared error that may be the mean's
    if share >= 1:
        return Interval(-math.inf, math.inf)
    radius = math.sqrt(variance * share / (1 - share))
    return Interval(mean - radius, mean + radius)


def concurrent_pairs(
    stable_block: npt.NDArray[Any], stable: Floats, candidate_block: npt.NDArray[Any], candidate: Floats
) -> Pairs:
    """Sum up losses of both on the same requests, or on concurrently randomised ones; `*_block` names each row's block.

    Within a block both had the same day, so its effect cancels; a block that only one of them has counts for nothing.
    """
    shared, stable_rows, candidate_rows, stable_means, candidate_means = _by_block(
        stable_block, stable, candidate_block, candidate
    )
    if not shared:
        nothing = math.nan
        return Pairs(rows=len(candidate), stable=nothing, candidate=nothing, blocks=0, mean=nothing, variance=nothing)
    rows = np.minimum(stable_rows, candidate_rows)
    differences = (candidate_means - stable_means)[rows >= np.median(rows) / 2]
    return Pairs(
        rows=int(candidate_rows.sum()),
        stable=float(np.average(stable_means, weights=candidate_rows)),  # as if it had had the candidate's days
        candidate=float(np.average(candidate_means, weights=candidate_rows)),
        blocks=len(differences),
        mean=float(differences.mean()),
        variance=float(differences.var()),
    )


def _by_block(
    stable_block: npt.NDArray[Any], stable: Floats, candidate_block: npt.NDArray[Any], candidate: Floats
) -> tuple[int, Floats, Floats, Floats, Floats]:
    names = np.intersect1d(stable_block, candidate_block)
    stable_rows, stable_means = _means(names, stable_block, stable)
    candidate_rows, candidate_means = _means(names, candidate_block, candidate)
    return len(names), stable_rows, candidate_rows, stable_means, candidate_means


def _means(names: npt.NDArray[Any], block: npt.NDArray[Any], values: Floats) -> tuple[Floats, Floats]:
    """Rows and means of the named blocks; other blocks are left out."""
    kept = np.isin(block, names)
    index = np.searchsorted(names, block[kept])
    rows = np.bincount(index, minlength=len(names)).astype(np.float64)
    sums = np.bincount(index, weights=values[kept], minlength=len(names))
    return rows, sums / np.maximum(rows, 1)
