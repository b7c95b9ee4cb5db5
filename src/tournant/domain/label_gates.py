"""The gates on labels: what a candidate's predictions lose and cost against stable's on the same labelled requests."""

import math
from collections.abc import Sequence
from dataclasses import replace

from tournant.domain.betting import Trials, difference_bounds
from tournant.domain.blocks import Pairs, block_interval
from tournant.domain.pairing import SLICES, LabelEvidence
from tournant.domain.rollout import Gate, Verdict
from tournant.domain.rollout_gates import Judge, Measure, finite, judge_measure
from tournant.domain.sequential import Interval

__all__ = ["label_gates"]


def label_gates(judge: Judge, evidence: LabelEvidence | None, metric: str) -> tuple[Gate, ...]:
    """Judge the loss; the cost of decisions where costs are set; and the loss of every slice, which only ever stops.

    By units of evidence a difference's interval is the sequential t-test's, by rows too; where rows are right or wrong it is
    a bet on which of both is wrong where they disagree, which is exact.
    """
    strategy, evidence = judge.strategy, evidence or LabelEvidence()
    name = metric.replace("_", " ")
    gates = [_gate(judge, "loss", name, evidence.loss, strategy.max_loss_increase, judge.alpha("loss"))]
    if strategy.costs:
        limit = strategy.costs.max_increase
        gates.append(_gate(judge, "cost", "cost a request", evidence.cost, limit, judge.alpha("cost")))
    return (*gates, *_slice_gates(judge, evidence.slices, name))


def _slice_gates(judge: Judge, slices: Sequence[tuple[str, Pairs]], metric: str) -> list[Gate]:
    limit = judge.strategy.max_loss_increase
    gates = []
    for name, pairs in slices:
        gate = _gate(judge, f"loss {name}", f"{metric} where {name}", pairs, limit, judge.alpha("slices") / SLICES)
        gates.append(gate if gate.verdict is Verdict.FAILED else replace(gate, verdict=Verdict.SUCCESSFUL, minimum=0))
    return gates


def _gate(judge: Judge, name: str, what: str, pairs: Pairs | None, limit: float, alpha: float) -> Gate:
    return judge_measure(
        judge,
        Measure(
            name=name,
            what=what,
            unit="loss",
            counted="labels",
            point=pairs.candidate - pairs.stable if pairs else math.nan,
            interval=_interval(pairs, alpha),
            limit=limit,
            samples=pairs.rows if pairs else 0,
            minimum=judge.strategy.minimum_labels,
            stable=finite(pairs.stable) if pairs else None,
            candidate=finite(pairs.candidate) if pairs else None,
        ),
    )


def _interval(pairs: Pairs | None, alpha: float) -> Interval:
    if pairs is None or pairs.blocks < 2:
        return Interval(-math.inf, math.inf)
    if pairs.discordant:
        worse, better = pairs.discordant
        return difference_bounds([Trials(share=0, requests=pairs.rows, candidate=worse, stable=better)], alpha=alpha)
    return block_interval(pairs.blocks, pairs.mean, pairs.variance, alpha=alpha)
