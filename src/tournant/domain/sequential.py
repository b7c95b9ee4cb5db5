"""Inference that stays valid however often one looks: confidence sequences and an e-detector of change.

Everything works on sufficient statistics (counts, means, variances), so sums from several gateways merge exactly, and
nothing depends on the order or the number of looks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = [
    "MINIMUM_COUNT",
    "Interval",
    "MeanDetector",
    "detector_value",
    "difference_interval",
    "is_alarmed",
    "mean_interval",
    "proportion_difference_interval",
    "proportion_interval",
    "tightest_rho",
    "update",
]

MINIMUM_COUNT = 20  # under it `mean_interval` is infinite: its guarantee is asymptotic
_PRIOR = 0.5  # Beta(1/2, 1/2): within a constant of the best mixture at every rate, the ends included
_BISECTIONS = 60
_BETS = (0.125, 0.25, 0.5, 1.0)  # the e-detector's bets, in reciprocal standard deviations of a unit


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval; infinite ends say that nothing is known yet."""

    lower: float
    upper: float


def proportion_interval(successes: int, trials: int, *, alpha: float) -> Interval:
    """Give the time-uniform confidence interval of a Bernoulli mean: all looks together err with probability ≤ alpha.

    The set of p at which the beta-binomial mixture martingale is below 1/alpha (Robbins 1970; Howard, Ramdas,
    McAuliffe, Sekhon 2021), with a Beta(1/2, 1/2) mixture. It holds at every sample size, exactly.

    >>> interval = proportion_interval(0, 200, alpha=0.05)
    >>> interval.lower, round(interval.upper, 4)
    (0.0, 0.0306)
    >>> proportion_interval(0, 0, alpha=0.05)
    Interval(lower=0.0, upper=1.0)
    """
    from scipy.special import betaln  # start-up time: a tenth of a server's

    if not 0 <= successes <= trials:
        raise ValueError(f"successes must be between 0 and {trials}, not {successes}")
    failures = trials - successes
    bound = float(betaln(successes + _PRIOR, failures + _PRIOR) - betaln(_PRIOR, _PRIOR)) + math.log(alpha)

    def inside(p: float) -> bool:
        return 0.0 < p < 1.0 and bound <= successes * math.log(p) + failures * math.log1p(-p)

    best = successes / trials if trials else 0.5
    return Interval(
        0.0 if successes == 0 else _edge(inside, best, 0.0),
        1.0 if failures == 0 else _edge(inside, best, 1.0),
    )


def _edge(inside: Callable[[float], bool], within: float, outside: float) -> float:
    """Bisect between a point inside and one outside; the result is outside, so the interval is never too short."""
    for _ in range(_BISECTIONS):
        middle = (within + outside) / 2
        if inside(middle):
            within = middle
        else:
            outside = middle
    return outside


def tightest_rho(count: int, *, alpha: float) -> float:
    """Give the `rho` at which `mean_interval` is about tightest at `count` observations (Waudby-Smith et al. 2021).

    >>> round(tightest_rho(1000, alpha=0.05), 3)
    0.089
    """
    tail = -2 * math.log(alpha)
    return math.sqrt((tail + math.log1p(tail)) / count)


def mean_interval(count: int, mean: float, variance: float, *, alpha: float, rho: float = 0.1) -> Interval:
    """Give the asymptotic time-uniform confidence interval of a mean with finite variance.

    Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas 2021, thm. 2.2: `mean ± sd · sqrt(2 (n ρ² + 1) / (n ρ)² · log(sqrt(n ρ² + 1) / α))`.
    `variance` is the sample variance. As the guarantee is asymptotic, fewer than `MINIMUM_COUNT` (20) observations give
    an infinite interval; a variance of 0 (all values equal so far) is then taken as it is.

    >>> interval = mean_interval(400, 0.5, 0.25, alpha=0.05)
    >>> round(interval.lower, 3), round(interval.upper, 3)
    (0.423, 0.577)
    >>> mean_interval(19, 0.5, 0.25, alpha=0.05)
    Interval(lower=-inf, upper=inf)
    """
    if count < MINIMUM_COUNT:
        return Interval(-math.inf, math.inf)
    spread = count * rho * rho + 1
    radius = math.sqrt(max(variance, 0.0) * 2 * spread / (count * rho) ** 2 * math.log(math.sqrt(spread) / alpha))
    return Interval(mean - radius, mean + radius)


def difference_interval(a: Interval, b: Interval) -> Interval:
    """Give the interval of `a - b`; if each errs with probability alpha/2, this one errs with at most alpha.

    >>> difference_interval(Interval(0.5, 1.0), Interval(0.25, 0.5))
    Interval(lower=0.0, upper=0.75)
    """
    return Interval(a.lower - b.upper, a.upper - b.lower)


def proportion_difference_interval(
    successes: int, trials: int, other_successes: int, other_trials: int, *, alpha: float
) -> Interval:
    """Give the time-uniform interval of the first proportion minus the other, at total level alpha.

    >>> interval = proportion_difference_interval(60, 1000, 10, 1000, alpha=0.05)
    >>> round(interval.lower, 3), round(interval.upper, 3)
    (0.008, 0.091)
    """
    return difference_interval(
        proportion_interval(successes, trials, alpha=alpha / 2),
        proportion_interval(other_successes, other_trials, alpha=alpha / 2),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanDetector:
    """A Shiryaev-Roberts e-detector of an increase in the mean of units, with the state it carries.

    Before a change, a unit's value has (given the past) a mean of at most `mean` and a variance of at most
    `deviation`². Nothing else is assumed: values may be unbounded and skewed (a daily mean log loss), because each
    unit's e-value is self-normalised: with z = (x - mean) / deviation, `exp(λ z - λ² (z² + 2) / 6)` has expectation
    ≤ 1 (Delyon 2009, from exp(y - y²/6) ≤ 1 + y + y²/3). The detector averages SR-type recursions
    `M ← e · (M + 1)` over several bets λ (Shin, Ramdas, Rinaldo 2022, alg. 1) and alarms at `average_run_length`; its
    expected units to a false alarm are then at least that many.

    `log_values` are the recursions' logarithms, one a bet; `units` counts what was taken in.
    """

    mean: float
    deviation: float
    average_run_length: float
    log_values: tuple[float, ...] = (-math.inf,) * len(_BETS)
    units: int = 0


def update(state: MeanDetector, x: float) -> MeanDetector:
    """Take in one more unit's value.

    >>> state = MeanDetector(mean=0.5, deviation=0.1, average_run_length=365)
    >>> for loss in [0.8, 0.75, 0.8, 0.85, 0.8, 0.8]:
    ...     state = update(state, loss)
    >>> state.units, round(detector_value(state), 1), is_alarmed(state)
    (6, 596.3, True)
    """
    bets = np.asarray(_BETS)
    z = (x - state.mean) / state.deviation
    log_e = bets * z - bets**2 * (z * z + 2) / 6
    values = log_e + np.logaddexp(np.asarray(state.log_values), 0.0)
    return replace(state, log_values=tuple(float(value) for value in values), units=state.units + 1)


def detector_value(state: MeanDetector) -> float:
    """Give the e-detector's value, to be compared with `average_run_length`."""
    return float(np.exp(min(np.logaddexp.reduce(state.log_values) - math.log(len(state.log_values)), 700.0)))


def is_alarmed(state: MeanDetector) -> bool:
    """Tell whether the mean has increased, as far as the stated average run length allows to say."""
    return detector_value(state) >= state.average_run_length
