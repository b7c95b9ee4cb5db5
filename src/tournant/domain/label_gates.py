"""The gates on labels: the loss of a candidate against stable's on the same labelled requests, by units of evidence."""

import math

from tournant.domain.blocks import Pairs, block_interval
from tournant.domain.rollout import Gate
from tournant.domain.rollout_gates import Judge, Measure, finite, judge_measure
from tournant.domain.sequential import Interval

__all__ = ["loss_gate"]


def loss_gate(judge: Judge, pairs: Pairs | None, metric: str) -> Gate:
    """Judge the loss on labels, by blocks, against that of stable."""
    measure = Measure(
        name="loss",
        what=metric.replace("_", " "),
        unit="loss",
        counted="labels",
        point=pairs.candidate - pairs.stable if pairs else math.nan,
        interval=_pairs_interval(pairs, judge.alpha("loss")),
        limit=judge.strategy.max_loss_increase,
        samples=pairs.rows if pairs else 0,
        minimum=judge.strategy.minimum_labels,
        stable=finite(pairs.stable) if pairs else None,
        candidate=finite(pairs.candidate) if pairs else None,
    )
    return judge_measure(judge, measure)


def _pairs_interval(pairs: Pairs | None, alpha: float) -> Interval:
    if pairs is None or pairs.blocks < 2:
        return Interval(-math.inf, math.inf)
    return block_interval(pairs.blocks, pairs.mean, pairs.variance, alpha=alpha)
