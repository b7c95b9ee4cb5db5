"""What labels say of a candidate: by rows or units, by slice, and what wrong decisions cost."""

from dataclasses import replace

import numpy as np
import pytest

from tournant.domain.label_gates import label_gates
from tournant.domain.pairing import SLICES, LabelledPairs, judge_labels, pair_labels
from tournant.domain.rollout import CostModel, Phase, Rollout, RolloutStrategy, Verdict
from tournant.domain.rollout_gates import Judge

STRATEGY = RolloutStrategy(minimum_labels=100, max_loss_increase=0.0)
DAY = 86_400.0


def rollout(**strategy):
    return Rollout(
        id="r",
        deployment="d",
        revision="d/2",
        stable="d/1",
        strategy=replace(STRATEGY, **strategy),
        phase=Phase.CANARY,
        started_at=0,
        step_started_at=0,
    )


def right_or_wrong(dice, rows, stable_error, candidate_error, **columns):
    """Pairs of predictions that are plainly right or wrong, independently of each other."""
    label = (dice.random(rows) < 0.5).astype(float)
    flip = lambda rate: np.where(dice.random(rows) < rate, 1 - label, label)  # noqa: E731
    return LabelledPairs(
        event_time=np.arange(rows) * 60.0,
        stable=flip(stable_error),
        candidate=flip(candidate_error),
        label=label,
        columns=columns,
    )


def gates(found, pairs, metric="error_rate"):
    return label_gates(Judge(found.strategy), judge_labels(found, pairs, metric, unit_seconds=DAY), metric)


def test_rows_that_are_right_or_wrong_are_judged_exactly():
    """Error .10 against .15, independent of each other: stopped within 860 labels in most of 60 runs."""
    found, dice = rollout(evidence="row"), np.random.default_rng(3)
    stops = []
    for _ in range(60):
        pairs = right_or_wrong(dice, 3_000, 0.10, 0.15)
        for seen in range(20, 3_000, 20):
            kept = slice(0, seen)
            part = LabelledPairs(
                event_time=pairs.event_time[kept],
                stable=pairs.stable[kept],
                candidate=pairs.candidate[kept],
                label=pairs.label[kept],
            )
            if gates(found, part)[0].verdict is Verdict.FAILED:
                break
        stops.append(seen)
    assert np.median(stops) <= 860


def test_rows_of_equal_models_are_rarely_told_apart():
    """A/A by rows, looked at every 50 labels: at most alpha (5 %) of 100 runs, and two standard errors."""
    found, dice = rollout(evidence="row"), np.random.default_rng(4)
    failed = 0
    for _ in range(100):
        pairs = right_or_wrong(dice, 1_500, 0.12, 0.12)
        looks = (
            LabelledPairs(
                **{name: getattr(pairs, name)[:seen] for name in ("event_time", "stable", "candidate", "label")}
            )
            for seen in range(50, 1_500, 50)
        )
        failed += any(gates(found, part)[0].verdict is Verdict.FAILED for part in looks)
    assert failed <= 9


def test_by_units_the_same_labels_wait_for_days():
    """Two days are too few to judge, however many rows they have."""
    pairs = right_or_wrong(np.random.default_rng(5), 2_880, 0.10, 0.2)
    assert gates(rollout(), pairs)[0].verdict is Verdict.WAITING
    assert gates(rollout(evidence="row"), pairs)[0].verdict is Verdict.FAILED


def test_a_slice_that_loses_more_stops_a_candidate_that_gains_overall():
    """Better for the many, broken for the few: the slice is named; others say nothing."""
    dice = np.random.default_rng(6)
    many, few = right_or_wrong(dice, 4_000, 0.2, 0.1), right_or_wrong(dice, 400, 0.1, 0.9)
    both = {
        name: np.concatenate([getattr(many, name), getattr(few, name)])
        for name in ("event_time", "stable", "candidate", "label")
    }
    origin = np.array(["JFK"] * 4_000 + ["LGA"] * 400, dtype=object)
    found = rollout(evidence="row", slices=("origin",))
    verdicts = {gate.name: gate.verdict for gate in gates(found, LabelledPairs(**both, columns={"origin": origin}))}
    assert verdicts == {
        "loss": Verdict.SUCCESSFUL,
        "loss origin=JFK": Verdict.SUCCESSFUL,
        "loss origin=LGA": Verdict.FAILED,
    }


def test_slices_are_bounded():
    """A column with a value a row does not make a gate a row."""
    pairs = right_or_wrong(
        np.random.default_rng(7), 2_000, 0.1, 0.1, key=np.array([f"k{i % 50}" for i in range(2_000)], dtype=object)
    )
    assert len(gates(rollout(evidence="row", slices=("key",)), pairs)) == 1 + SLICES


def test_costs_weigh_wrong_decisions():
    """As many errors as stable, but the expensive kind: the cost gate stops what the loss gate lets pass."""
    rows = 4_000
    label = np.tile([0.0, 1.0], rows // 2)
    dice = np.random.default_rng(8)
    stable = np.where((label == 0) & (dice.random(rows) < 0.2), 1.0, label)  # false alarms
    candidate = np.where((label == 1) & (dice.random(rows) < 0.2), 0.0, label)  # misses
    pairs = LabelledPairs(event_time=np.arange(rows) * 60.0, stable=stable, candidate=candidate, label=label)
    found = rollout(evidence="row", costs=CostModel(false_positive=1.0, false_negative=20.0))
    loss, cost = gates(found, pairs)
    assert loss.verdict is not Verdict.FAILED
    assert cost.verdict is Verdict.FAILED
    assert cost.reason.startswith("candidate cost a request is above stable by at least 1.")


@pytest.mark.parametrize(("stable_role", "candidate_role"), [("stable", "shadow"), ("shadow", "canary")])
def test_pairs_are_found_whoever_answered(stable_role, candidate_role):
    """In every step the one that did not answer has scored a copy; fallbacks and unlabelled requests pair with nothing."""
    outcomes = {
        "prediction_id": np.array(["a", "a", "b", "b", "c", "d", "d"], dtype=object),
        "event_time": np.array([2.0, 2.0, 1.0, 1.0, 3.0, 4.0, 4.0]),
        "revision": np.array(["d/1", "d/2", "d/1", "d/2", "d/2", "d/1", "d/2"], dtype=object),
        "role": np.array([stable_role, candidate_role] * 2 + [candidate_role, "stable", candidate_role], dtype=object),
        "rollout": np.array(["r", "r", "r", "r", "r", "", "r"], dtype=object),
        "score": np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]),
        "error": np.zeros(7, dtype=bool),
        "label": np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
    }
    pairs = pair_labels(rollout(), outcomes)
    assert pairs.event_time.tolist() == [1.0, 2.0]
    assert (pairs.stable.tolist(), pairs.candidate.tolist(), pairs.label.tolist()) == (
        [0.3, 0.1],
        [0.4, 0.2],
        [0.0, 1.0],
    )
    outcomes["label"][:] = np.nan
    assert pair_labels(rollout(), outcomes) is None
