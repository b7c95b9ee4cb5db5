"""Labelled requests that stable and a candidate both scored, and what their labels say of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tournant.domain.blocks import Pairs, concurrent_pairs
from tournant.domain.performance import losses
from tournant.domain.rollout import CostModel, Rollout

__all__ = ["LabelEvidence", "LabelledPairs", "judge_labels", "pair_labels"]

Floats = npt.NDArray[np.float64]
Anything = npt.NDArray[np.object_]
SLICES = 16  # judged at most, those seen first: each has its part of alpha
SLICE_ROWS = 30  # under it a slice's block differences are noise


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPairs:
    """Equally long arrays, one entry a request, in event time: both scores, the label, and the columns sliced by."""

    event_time: Floats
    stable: Floats
    candidate: Floats
    label: Floats
    columns: Mapping[str, Anything] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelEvidence:
    """What labels say of a rollout: the loss, the cost of decisions (if costs are set), and the loss by slice."""

    loss: Pairs | None = None
    cost: Pairs | None = None
    slices: tuple[tuple[str, Pairs], ...] = ()


def pair_labels(rollout: Rollout, outcomes: Mapping[str, npt.NDArray[np.generic]]) -> LabelledPairs | None:
    """Find the labelled requests that both scored in the rollout's steps; None while there are none.

    `outcomes` has a row for each (request, revision) with prediction_id, event_time, revision, role, rollout, score, error,
    label and the columns to slice by. A label does not depend on who answered, so all steps count: in shadow and as a
    canary the candidate scores copies of what stable answers, at 100 % stable scores copies of what the candidate answers.
    """
    known = (outcomes["rollout"] == rollout.id) & ~np.isnan(_floats(outcomes["label"]))
    known &= ~np.isnan(_floats(outcomes["score"])) & ~outcomes["error"].astype(bool)
    ids = outcomes["prediction_id"].astype(str)
    theirs, own = (np.flatnonzero(known & (outcomes["revision"] == who)) for who in (rollout.stable, rollout.revision))
    _, left, right = np.intersect1d(ids[theirs], ids[own], return_indices=True)
    theirs, own = theirs[left], own[right]
    if not len(own):
        return None
    order = np.argsort(_floats(outcomes["event_time"])[theirs], kind="stable")
    theirs, own = theirs[order], own[order]
    return LabelledPairs(
        event_time=_floats(outcomes["event_time"])[theirs],
        stable=_floats(outcomes["score"])[theirs],
        candidate=_floats(outcomes["score"])[own],
        label=_floats(outcomes["label"])[theirs],
        columns={name: outcomes[name][theirs].astype(object) for name in rollout.strategy.slices if name in outcomes},
    )


def judge_labels(
    rollout: Rollout, pairs: LabelledPairs, metric: str, *, unit_seconds: float, relative: bool = False
) -> LabelEvidence:
    """Compare losses (and costs) by units of evidence, or by rows where the strategy says that these are independent.

    With `relative`, losses are in units of stable's mean loss: a number's own units would suit no general limit.
    """
    strategy = rollout.strategy
    unit = 0.0 if strategy.evidence == "row" else unit_seconds
    stable, own = (losses(metric, scores, pairs.label) for scores in (pairs.stable, pairs.candidate))
    scale = float(stable.mean()) if relative and stable.any() else 1.0
    stable, own = stable / scale, own / scale
    cost = None
    if strategy.costs:
        before, after = (_costs(strategy.costs, scores, pairs.label) for scores in (pairs.stable, pairs.candidate))
        cost = _compare(pairs.event_time, before, after, unit)
    slices = tuple(
        (name, _compare(pairs.event_time[inside], stable[inside], own[inside], unit))
        for name, inside in _slices(pairs)
        if inside.sum() >= SLICE_ROWS
    )
    return LabelEvidence(loss=_compare(pairs.event_time, stable, own, unit), cost=cost, slices=slices)


def _costs(costs: CostModel, scores: Floats, label: Floats) -> Floats:
    positive = scores >= costs.threshold
    wrong = np.where(positive, costs.false_positive * (label <= 0.5), costs.false_negative * (label > 0.5))
    return wrong.astype(np.float64)


def _slices(pairs: LabelledPairs) -> list[tuple[str, npt.NDArray[np.bool_]]]:
    """The first values seen of each column, in order of appearance: a choice that does not look at any loss."""
    found = [
        (f"{column}={value}", values == value)
        for column, values in pairs.columns.items()
        for value in dict.fromkeys(values.tolist())
        if value is not None
    ]
    found.sort(key=lambda named: int(np.argmax(named[1])))
    return found[:SLICES]


def _compare(event_time: Floats, stable: Floats, own: Floats, unit_seconds: float) -> Pairs:
    if unit_seconds:
        block = np.floor(event_time / unit_seconds)
        return concurrent_pairs(block, stable, block, own)
    difference = own - stable
    binary = bool(np.isin(stable, (0.0, 1.0)).all() and np.isin(own, (0.0, 1.0)).all())
    return Pairs(
        rows=len(own),
        stable=float(stable.mean()),
        candidate=float(own.mean()),
        blocks=len(own),
        mean=float(difference.mean()),
        variance=float(difference.var()),
        discordant=(int((difference > 0).sum()), int((difference < 0).sum())) if binary else None,
    )


def _floats(values: npt.NDArray[np.generic]) -> Floats:
    return values.astype(np.float64)
