"""Paired comparison of two models on the same rows, where rows of one unit (a day) are not independent."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Estimate", "paired_auroc_bootstrap", "paired_block_bootstrap"]

Floats = npt.NDArray[np.float64]
_BATCH = 250  # replicates at a time: bounds memory at any number of units


class Estimate(NamedTuple):
    """A difference with its interval; NaN where the data say nothing."""

    mean: float
    lower: float
    upper: float


def paired_block_bootstrap(
    differences: Floats, units: npt.NDArray[Any], *, alpha: float, replicates: int = 2000, seed: int = 0
) -> Estimate:
    """Give the mean of paired differences with its percentile interval, resampling whole units.

    `units` names each row's unit of evidence. NaN differences are left out. Fewer than two units give an infinite
    interval. (Efron, Tibshirani 1993, ch. 8 and 13.)

    >>> days = np.repeat(np.arange(30), 10)
    >>> rows = np.repeat(np.random.default_rng(1).normal(-0.02, 0.03, 30), 10)
    >>> [round(value, 3) for value in paired_block_bootstrap(rows, days, alpha=0.1)]
    [-0.022, -0.03, -0.015]
    """
    known = ~np.isnan(differences)
    _, index = np.unique(units[known], return_inverse=True)
    sums, counts = np.bincount(index, differences[known]), np.bincount(index)
    if not len(counts):
        return Estimate(np.nan, -np.inf, np.inf)
    mean = float(sums.sum() / counts.sum())
    if len(counts) < 2:
        return Estimate(mean, -np.inf, np.inf)
    drawn = [weights @ sums / (weights @ counts) for weights in _unit_weights(len(counts), replicates, seed)]
    return _estimate(mean, np.concatenate(drawn), alpha)


def paired_auroc_bootstrap(
    labels: Floats,
    champion: Floats,
    challenger: Floats,
    units: npt.NDArray[Any],
    *,
    alpha: float,
    replicates: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Give the AUROC difference, challenger minus champion, with its percentile interval, resampling whole units.

    Each replicate weighs the counts of concordant pairs between the positives of one unit and the negatives of
    another, so that no replicate sorts anything.
    """
    known = ~(np.isnan(labels) | np.isnan(champion) | np.isnan(challenger))
    if not known.any():
        return Estimate(np.nan, -np.inf, np.inf)
    _, index = np.unique(units[known], return_inverse=True)
    count = int(index.max()) + 1
    positive = labels[known] > 0.5
    difference = _concordance(challenger[known], positive, index, count)
    difference -= _concordance(champion[known], positive, index, count)
    hits, misses = np.bincount(index[positive], minlength=count), np.bincount(index[~positive], minlength=count)
    if not hits.sum() or not misses.sum():
        return Estimate(np.nan, -np.inf, np.inf)
    mean = float(difference.sum() / (hits.sum() * misses.sum()))
    if count < 2:
        return Estimate(mean, -np.inf, np.inf)
    drawn = []
    for weights in _unit_weights(count, replicates, seed):
        pairs = (weights @ hits) * (weights @ misses)
        total = ((weights @ difference) * weights).sum(axis=1)
        drawn.append(total[pairs > 0] / pairs[pairs > 0])
    return _estimate(mean, np.concatenate(drawn), alpha)


def _unit_weights(units: int, replicates: int, seed: int) -> list[Floats]:
    """Draw how often each unit is taken in each replicate, in batches of shape (replicates, units)."""
    rng = np.random.default_rng(seed)
    shares = np.full(units, 1 / units)
    sizes = [min(_BATCH, replicates - start) for start in range(0, replicates, _BATCH)]
    return [rng.multinomial(units, shares, size=size).astype(np.float64) for size in sizes]


def _concordance(scores: Floats, positive: npt.NDArray[np.bool_], index: npt.NDArray[np.intp], count: int) -> Floats:
    """Count pairs (positive of unit i above negative of unit j), ties half; shape (count, count)."""
    hits, hit_index = scores[positive], index[positive]
    pairs = np.empty((count, count))
    for unit in range(count):
        negative = np.sort(scores[~positive & (index == unit)])
        below = np.searchsorted(negative, hits, "left") + np.searchsorted(negative, hits, "right")
        pairs[:, unit] = np.bincount(hit_index, below / 2, minlength=count)
    return pairs


def _estimate(mean: float, drawn: Floats, alpha: float) -> Estimate:
    lower, upper = np.quantile(drawn, [alpha / 2, 1 - alpha / 2])
    return Estimate(mean, float(lower), float(upper))
