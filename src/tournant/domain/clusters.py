"""Rates where the split is by entity: an entity's requests go together, so entities are the sample, not requests.

A gateway hashes entities into `CLUSTERS` groups, independently of the split, and counts by group. Groups of one arm are
independent of those of the other and of each other, whatever happens inside them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tournant.domain.blocks import block_interval
from tournant.domain.sequential import Interval

__all__ = ["CLUSTERS", "cluster_bounds"]

CLUSTERS = 64
Counts = Mapping[str, tuple[int, int]]  # by group: requests, and those of them that failed


@dataclass(frozen=True, slots=True)
class _Rate:
    """A ratio of sums over groups, with its variance and the groups that had requests."""

    value: float
    variance: float
    groups: int


def cluster_bounds(candidate: Counts, stable: Counts, *, alpha: float) -> Interval:
    """Give bounds of the candidate's rate minus stable's, by groups of entities; infinite while groups are too few.

    The ratio estimator's linearised variance over groups (Cochran 1977, eq. 6.13), the sequential t-test's interval at
    the Welch-Satterthwaite number of groups. As a group that has seen no failure says little of the next one, each arm
    gets the variance of half a failing group on top.

    >>> quiet = {str(group): (100, 1) for group in range(60)}
    >>> noisy = {str(group): (100, 30 + group % 5) for group in range(30)}
    >>> bounds = cluster_bounds(noisy, quiet, alpha=0.01)
    >>> 0.2 < bounds.lower < 0.31 < bounds.upper < 0.42
    True
    >>> cluster_bounds({"7": (500, 500)}, quiet, alpha=0.01)  # one group: the candidate, or its entities?
    Interval(lower=-inf, upper=inf)
    """
    own, theirs = _rate(candidate), _rate(stable)
    if min(own.groups, theirs.groups) < 2:
        return Interval(-math.inf, math.inf)
    variance = own.variance + theirs.variance
    effective = variance**2 / (own.variance**2 / (own.groups - 1) + theirs.variance**2 / (theirs.groups - 1)) + 1
    groups = max(2, math.floor(effective))
    return block_interval(groups, own.value - theirs.value, variance * groups, alpha=alpha)


def _rate(counts: Counts) -> _Rate:
    given = np.array([pair for pair in counts.values() if pair[0] > 0], dtype=np.float64).reshape(-1, 2)
    requests, failures = given[:, 0], given[:, 1]
    groups = len(given)
    if groups < 2:
        return _Rate(math.nan, math.inf, groups)
    total = requests.sum()
    value = failures.sum() / total
    spread = groups / (groups - 1) * float(((failures - value * requests) ** 2).sum()) / total**2
    return _Rate(float(value), spread + (0.5 / groups) ** 2 * 0.25, groups)
