"""The gates on requests: errors, latency and scores of a candidate, against stable's on concurrently randomised requests.

Errors and latency are judged on all the comparing steps of a rollout together: in shadow both have every request, in a canary
step each request went to one of them by chance, and the evidence of both kinds multiplies (`betting`). Where the split is by
entity the present step is judged by groups of entities (`clusters`). What people read (rates, samples) is of the present step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tournant.domain.betting import Trials, difference_bounds
from tournant.domain.clusters import cluster_bounds
from tournant.domain.latency import LATENCY_BOUNDS_MS, latency_bucket
from tournant.domain.rollout import SCORE_BINS, Gate, Observation
from tournant.domain.rollout_gates import OVER_SLO_SHARE, Judge, Measure, finite, judge_measure
from tournant.domain.sequential import Interval, mean_interval, proportion_interval

__all__ = ["StepCounts", "distribution_gate", "error_gate", "latency_gate", "score_gate", "slowdown_gate"]

_ERRORS, _OVER_SLO = 1, 2  # where an observation's clusters have them


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCounts:
    """What was counted in one step: `share` is the candidate's part of the traffic (0 in shadow: it had copies of all)."""

    share: float
    stable: Observation
    candidate: Observation

    @property
    def sticky(self) -> bool:
        """Whether entities, not requests, were divided."""
        return 0 < self.share < 1 and bool(self.candidate.clusters or self.stable.clusters)

    def trials(
        self, count: Callable[[Observation], int], of: Callable[[Observation], int] = lambda seen: seen.requests
    ) -> Trials:
        """Give the step's trials of what `count` counts: `of` its requests, or of a sample of them taken before they were divided."""
        requests = of(self.candidate) + (of(self.stable) if 0 < self.share < 1 else 0)
        stable = 0 if self.share == 1 else min(count(self.stable), requests)
        return Trials(share=self.share, requests=requests, candidate=count(self.candidate), stable=stable)


def error_gate(judge: Judge, steps: Sequence[StepCounts]) -> Gate:
    """Judge the error rate against that of stable; alone at 100 %, it is held against the limit itself."""
    now = steps[-1]
    alone = now.share == 1
    rates = _share(_errors(now.stable), now.stable.requests), _share(_errors(now.candidate), now.candidate.requests)
    return judge_measure(
        judge,
        Measure(
            name="errors",
            what="error rate",
            unit="share",
            counted="requests",
            point=rates[1] if alone else rates[1] - rates[0],
            interval=_bounds(steps, _errors, _ERRORS, alpha=judge.alpha("errors")),
            limit=judge.strategy.max_error_increase,
            samples=now.candidate.requests,
            minimum=judge.strategy.minimum_requests,
            stable=finite(rates[0]),
            candidate=finite(rates[1]),
            relation="" if alone else "above stable",
        ),
    )


def latency_gate(judge: Judge, steps: Sequence[StepCounts], slo_p99_ms: float) -> Gate:
    """Judge the share of answers over the SLO, of which a p99 allows 1 %.

    What stable is itself over that 1 % at the same moment is forgiven, as it is the machine's: judged is
    `candidate - max(0, stable - 1 %)`, which is the lesser of the candidate's share and of its difference to stable plus 1 %.
    """
    now, alpha = steps[-1], judge.alpha("latency")
    shares = _share(_over(now.stable), now.stable.requests), _share(_over(now.candidate), now.candidate.requests)
    own = _own_bounds(steps, alpha)
    difference = _bounds(steps, _over, _OVER_SLO, alpha=alpha) if now.share < 1 else own
    interval = Interval(
        min(own.lower, difference.lower + OVER_SLO_SHARE), min(own.upper, difference.upper + OVER_SLO_SHARE)
    )
    excess = max(0.0, shares[0] - OVER_SLO_SHARE) if now.stable.requests and now.share < 1 else 0.0
    return judge_measure(
        judge,
        Measure(
            name="latency",
            what=f"share over {slo_p99_ms:g} ms",
            unit="share",
            counted="requests",
            point=shares[1] - excess,
            interval=interval if now.share < 1 else own,
            limit=OVER_SLO_SHARE,
            samples=now.candidate.requests,
            minimum=judge.strategy.minimum_requests,
            stable=finite(shares[0]),
            candidate=finite(shares[1]),
            relation="above what stable and the machine explain" if now.share < 1 else "",
        ),
    )


def slowdown_gate(judge: Judge, steps: Sequence[StepCounts]) -> Gate:
    """Judge how many more of the candidate's answers than of stable's are slower than any one time.

    With both distributions of latency F, that is `max over t of F_stable(t) - F_candidate(t)`: above 0.5 - 0.05 the
    candidate's median is slower than stable's p95. The times are the bounds of the histogram's buckets, which share the
    gate's alpha. Judged in canary steps whose requests are divided at random, by those that were timed (all, or where
    requests share runs a sample that did not); a shadow's latency is of other batches.
    """
    now, alpha = steps[-1], judge.alpha("slowdown") / len(LATENCY_BOUNDS_MS)
    limit = judge.strategy.max_slower_share
    assert limit is not None
    places = range(len(LATENCY_BOUNDS_MS))
    slower = [(_slower(now.stable, place), _slower(now.candidate, place)) for place in places]
    shares = [(_share(s, now.stable.timed), _share(c, now.candidate.timed)) for s, c in slower]
    worst = max(places, key=lambda place: shares[place][1] - shares[place][0])
    bounds = [
        difference_bounds(
            [step.trials(partial(_slower, place=place), lambda seen: seen.timed) for step in steps], alpha=alpha
        )
        for place in places
    ]
    return judge_measure(
        judge,
        Measure(
            name="slowdown",
            what=f"share slower than {LATENCY_BOUNDS_MS[worst]:g} ms",
            unit="share",
            counted="timed requests",
            point=shares[worst][1] - shares[worst][0],
            interval=Interval(max(bound.lower for bound in bounds), max(bound.upper for bound in bounds)),
            limit=limit,
            samples=now.candidate.timed,
            minimum=judge.strategy.minimum_requests,
            stable=finite(shares[worst][0]),
            candidate=finite(shares[worst][1]),
        ),
    )


def _slower(observation: Observation, place: int) -> int:
    """Count the timed requests that took longer than a bound."""
    return observation.timed - sum(observation.histogram.get(latency_bucket(index), 0) for index in range(place + 1))


def _own_bounds(steps: Sequence[StepCounts], alpha: float) -> Interval:
    """Bounds of the candidate's own share over the SLO, in all steps."""
    over, requests = (sum(count(step.candidate) for step in steps) for count in (_over, _requests))
    lower = difference_bounds([Trials(share=1, requests=requests, candidate=over)], alpha=alpha).lower
    return Interval(lower, proportion_interval(over, requests, alpha=alpha).upper)


def _bounds(steps: Sequence[StepCounts], count: Callable[[Observation], int], place: int, *, alpha: float) -> Interval:
    now = steps[-1]
    if now.sticky:  # each step's entities are others: a part of alpha for each
        own, theirs = (_groups(observation, place) for observation in (now.candidate, now.stable))
        return cluster_bounds(own, theirs, alpha=alpha / len(steps))
    return difference_bounds([step.trials(count) for step in steps if step.candidate.requests], alpha=alpha)


def _groups(observation: Observation, place: int) -> dict[str, tuple[int, int]]:
    return {group: (counts[0], counts[place]) for group, counts in observation.clusters.items()}


def score_gate(judge: Judge, candidate: Observation, score_range: float) -> Gate:
    """Judge the mean shift of scores on the same requests, as a share of `score_range`; only gross change fails."""
    pairs = candidate.pairs
    mean = candidate.pair_sum / pairs / score_range
    variance = max(candidate.pair_squares / pairs / score_range**2 - mean**2, 0.0) * pairs / max(pairs - 1, 1)
    shift = mean_interval(pairs, mean, variance, alpha=judge.alpha("scores"))
    nearest = max(shift.lower, -shift.upper, 0.0)
    return judge_measure(
        judge,
        Measure(
            name="scores",
            what="mean score",
            unit="score",
            counted="pairs",
            point=abs(mean),
            interval=Interval(nearest, max(abs(shift.lower), abs(shift.upper))),
            limit=judge.strategy.max_score_shift,
            samples=pairs,
            minimum=judge.strategy.minimum_requests,
            relation="off stable's",
        ),
    )


def distribution_gate(judge: Judge, steps: Sequence[StepCounts]) -> Gate:
    """Judge the largest distance of both score distributions (Kolmogorov-Smirnov, at nine fixed scores); only gross change fails.

    At each of the scores the share of predictions under it is compared as failures are; the nine, and both directions,
    share the gate's alpha.
    """
    now, alpha = steps[-1], judge.alpha("distribution") / (2 * (SCORE_BINS - 1))
    under = [_under(now.candidate, place) - _under(now.stable, place) for place in range(1, SCORE_BINS)]
    bounds = [
        difference_bounds([_score_trials(step, place) for step in steps], alpha=alpha) for place in range(1, SCORE_BINS)
    ]
    return judge_measure(
        judge,
        Measure(
            name="distribution",
            what="distribution of scores",
            unit="share",
            counted="predictions",
            point=max(map(abs, under)),
            interval=Interval(
                max(0.0, *(max(bound.lower, -bound.upper) for bound in bounds)),
                max(max(abs(bound.lower), abs(bound.upper)) for bound in bounds),
            ),
            limit=judge.strategy.max_score_distance,
            samples=now.candidate.rows,
            minimum=judge.strategy.minimum_requests,
            relation="off stable's",
        ),
    )


def _score_trials(step: StepCounts, place: int) -> Trials:
    own, theirs = (sum(seen.score_bins[:place]) for seen in (step.candidate, step.stable))
    rows = step.candidate.rows + (step.stable.rows if step.share else 0)
    return Trials(share=step.share, requests=rows, candidate=own, stable=min(theirs, rows))


def _under(observation: Observation, place: int) -> float:
    return sum(observation.score_bins[:place]) / max(observation.rows, 1)


def _requests(observation: Observation) -> int:
    return observation.requests


def _errors(observation: Observation) -> int:
    return min(observation.errors, observation.requests)


def _over(observation: Observation) -> int:
    return min(observation.over_slo, observation.requests)


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan
