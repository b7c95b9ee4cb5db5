"""Which of two arms fails more often, and by how much: a test by betting that stays valid however often one looks.

Requests are randomised between two arms, so each request has a payoff with a known meaning: with the candidate's share of
traffic w, `D = 1/w` for a failure of the candidate, `-1/(1 - w)` for one of stable, `0` otherwise; its expectation is the
difference of both rates *at that moment*. Against the hypothesis that this is at most a limit, a bettor's wealth
`∏ (1 + λ (D - limit))` is a supermartingale (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by
betting"), so it ever reaches 1/alpha with probability at most alpha. Nothing is assumed of the rates: they may drift and
come in bursts, as long as both arms have them at the same time. For a fixed bet λ the wealth depends on counts only, so
counts of several gateways add up and the order of looks does not matter; wealth is averaged over a grid of bets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tournant.domain.sequential import Interval

__all__ = ["Trials", "difference_bounds", "log_wealth"]

Floats = npt.NDArray[np.float64]
# Fractions of the largest bet allowed. Near the optimum from a fifth of a point to tens of points of difference.
_FRACTIONS = np.array([0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95])
_POINTS, _ROUNDS = 65, 3  # the grid that bounds are searched on: to 8e-6
_SMALLEST_LIMIT = 1e-6  # alone, a limit of 0 would make one failure infinite evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """Counts of one step of a rollout: `requests`, of which `candidate` failed on the candidate and `stable` on stable.

    With `share` between 0 and 1 each request went to one arm, to the candidate with that probability. With a share of 1 the
    candidate had all of them, alone. With a share of 0 they are pairs: both had every request, and `candidate` and `stable`
    count those where only that one failed (or, which is careful, all its failures).
    """

    share: float
    requests: int
    candidate: int
    stable: int = 0

    def __post_init__(self) -> None:
        """Refuse counts that cannot be."""
        if not 0 <= self.share <= 1 or min(self.candidate, self.stable) < 0:
            raise ValueError(f"no trials: {self}")

    @property
    def gain(self) -> float:
        """The payoff of a failure on the candidate."""
        return 1 / self.share if self.share else 1.0

    @property
    def loss(self) -> float:
        """What a failure on stable takes away."""
        return 1 / (1 - self.share) if self.share < 1 else 0.0

    @property
    def point(self) -> float:
        """The mean payoff: an unbiased estimate of the difference; NaN without requests."""
        if not self.requests:
            return math.nan
        return (self.candidate * self.gain - self.stable * self.loss) / self.requests

    def swapped(self) -> "Trials":
        """The same, seen from stable."""
        return replace(self, share=1 - self.share if self.share else 0.0, candidate=self.stable, stable=self.candidate)


def log_wealth(steps: Sequence[Trials], limit: float) -> float:
    """Give the logarithm of the wealth against “the candidate's rate is at most stable's plus `limit`”, over all `steps`.

    The hypothesis falls, with an error of at most alpha over all looks, when this reaches `-log(alpha)`.

    >>> bad = Trials(share=0.1, requests=2000, candidate=12, stable=18)
    >>> log_wealth([bad], 0.0) > -math.log(0.05) > log_wealth([replace(bad, candidate=2)], 0.0)
    True
    """
    return float(_log_wealth(steps, np.array([limit]))[0])


def _log_wealth(steps: Sequence[Trials], limits: Floats) -> Floats:
    total = np.zeros((len(_FRACTIONS), len(limits)))
    for step in steps:
        total += _log_bets(step, limits)
    top = total.max(axis=0)
    return np.asarray(top + np.log(np.mean(np.exp(total - top), axis=0)))


def _log_bets(step: Trials, limits: Floats) -> Floats:
    reach = np.maximum(step.loss + limits, _SMALLEST_LIMIT)  # what the bettor can lose a unit of bet
    bets = _FRACTIONS[:, None] / reach
    quiet = max(step.requests - step.candidate - step.stable, 0)
    logs = step.candidate * np.log1p(bets * (step.gain - limits)) + quiet * np.log1p(-bets * limits)
    return np.asarray(logs + step.stable * np.log1p(-_FRACTIONS[:, None]))


def difference_bounds(steps: Sequence[Trials], *, alpha: float) -> Interval:
    """Give the time-uniform bounds of the candidate's rate minus stable's; each errs with probability at most alpha.

    The lower one is the least limit that is not refuted. Where rates drift it is of their mean difference so far.

    >>> bounds = difference_bounds([Trials(share=0.5, requests=4000, candidate=100, stable=20)], alpha=0.05)
    >>> round(bounds.lower, 3), round(bounds.upper, 3)
    (0.024, 0.058)
    >>> difference_bounds([], alpha=0.05)
    Interval(lower=-1.0, upper=1.0)
    """
    mirrored = [step.swapped() for step in steps]
    upper = 1.0 if any(step.share == 1 for step in steps) else -_lowest(mirrored, alpha)
    lower = _lowest(steps, alpha)
    return Interval(lower, max(lower, upper))  # a handful of requests that chance gave to one arm can refute everything


def _lowest(steps: Sequence[Trials], alpha: float) -> float:
    """Search for the least limit that stands, ever finer; wealth falls as the limit rises."""
    low, high = (0.0 if any(step.share == 1 for step in steps) else -1.0), 1.0
    if not steps:
        return low
    for _ in range(_ROUNDS):
        limits = np.linspace(low, high, _POINTS)
        refuted = int((_log_wealth(steps, limits) >= -math.log(alpha)).sum())
        if refuted == 0:
            return low
        low, high = float(limits[refuted - 1]), float(limits[min(refuted, _POINTS - 1)])
    return low
