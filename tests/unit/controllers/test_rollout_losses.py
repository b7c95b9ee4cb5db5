"""Losses on labels decide rollouts: real segments, a real prediction log."""

import io
from dataclasses import replace

import duckdb
import numpy as np
import pytest

from tournant.domain.deployment import DeploymentConfig
from tournant.domain.registry import Output, Signature
from tournant.domain.rollout import Phase, RolloutStrategy
from tournant.messages.gateway import SegmentUpload
from tournant.services.deployments import deploy
from tournant.services.gateways import register_segment
from tournant.services.labels import GivenLabel, add_labels

DAY = 86_400.0
ROWS = 120
STRATEGY = RolloutStrategy(canary_percents=(50.0,), minimum_requests=100, minimum_labels=100, hold_seconds=2 * DAY)


@pytest.fixture
def house(context, clock, world_of):
    """A world with a content store and a prediction log."""
    return world_of(context, clock)


def write_day(house, rng, *, quality, scale=1.0):
    """Record a day of predictions, and their labels at its end; a revision's score is the truth plus so much noise."""
    route, start = house.route(), house.clock.now()
    columns = ("prediction_id", "event_time", "revision", "role", "rollout", "epoch", "score", "error")
    rows, labels = [], []
    for number in range(ROWS):
        label = float(rng.random() < 0.4) * scale
        name, time = f"{start}-{number}", start + number * DAY / ROWS
        canary = rng.random() * 10_000 < route.canary_weight
        answered = (route.canary, "canary") if canary else (route.stable, "stable")
        for revision, role in (answered, *((shadow, "shadow") for shadow in route.shadows)):
            miss = float(np.clip(rng.normal(quality[revision], 0.05), 0.01, 0.99)) * scale
            score = miss if label == 0 else scale - miss
            rows.append((name, time, revision, role, route.rollout, route.epoch, score, None))
        labels.append(GivenLabel(prediction_id=name, value=label))
    register(house, columns, rows)
    house.clock.time += DAY
    add_labels(house.ctx, "d", labels)


def register(house, columns, rows):
    path = house.ctx.settings.home / "segment.parquet"
    values = {name: np.array([row[index] for row in rows], dtype=object) for index, name in enumerate(columns)}
    values["event_time"] = values["event_time"].astype(float)
    values["score"] = values["score"].astype(float)
    values["epoch"] = values["epoch"].astype(int)
    with duckdb.connect(":memory:") as connection:
        connection.register("segment", {name: column for name, column in values.items() if name != "error"})
        connection.execute(
            "create table t as select *, null::varchar as error, '' as key, '' as entity, 1.0 as latency_ms from segment"
        )
        connection.execute(f"copy t to '{path}' (format parquet)")
    content = path.read_bytes()
    digest = house.ctx.blobs.put(io.BytesIO(content))
    upload = SegmentUpload(
        digest=digest,
        deployment="d",
        gateway="g1",
        start=float(values["event_time"].min()),
        end=float(values["event_time"].max()),
        rows=len(rows),
        size_bytes=len(content),
    )
    register_segment(house.ctx, upload)


def live_through(house, days, **how):
    rng = np.random.default_rng(11)
    for _ in range(days):
        write_day(house, rng, **how)
        house.serve(ROWS)


def start(house, **changes):
    config = DeploymentConfig(rollout=STRATEGY)
    deploy(house.ctx, "d", house.register(1, **changes), config=config)
    house.settle()
    deploy(house.ctx, "d", house.register(2, **changes))
    house.settle()


def test_candidate_that_predicts_badly_is_stopped_in_shadow(house):
    """Nothing is broken but the predictions: only labels can tell."""
    start(house)
    live_through(house, 9, quality={"d/1": 0.2, "d/2": 0.7})
    rollout = house.rollout("d/2")
    assert rollout.phase is Phase.FAILED and rollout.step == 0
    assert "candidate log loss is above stable by at least" in rollout.reason
    assert "labels" in rollout.reason


def test_candidate_as_good_is_promoted(house):
    """Through shadow on the same requests, and canary on concurrent ones."""
    start(house)
    live_through(house, 9, quality={"d/1": 0.2, "d/2": 0.19})
    rollout = house.rollout("d/2")
    assert rollout.phase is Phase.PROMOTED
    loss = next(gate for gate in rollout.gates if gate.name == "loss")
    assert loss.samples >= 100 and loss.candidate < loss.stable


def test_no_labels_no_promotion(house):
    """Requests alone are not enough where labels are judged."""
    start(house)
    for _ in range(9):
        house.serve(ROWS)
        house.clock.time += DAY
    rollout = house.rollout("d/2")
    assert rollout.phase is Phase.SHADOW
    assert rollout.reason == "log loss: 0 of 100 labels"


def test_numbers_are_judged_relative_to_stable(house):
    """Prices in thousands have squared errors in millions: the limit is a share of stable's loss."""
    number = Signature(inputs=(), output=Output(kind="number"))
    start(house, signature=number)
    live_through(house, 9, quality={"d/1": 0.2, "d/2": 0.2}, scale=1000.0)
    assert house.rollout("d/2").phase is Phase.PROMOTED
    loss = next(gate for gate in house.rollout("d/2").gates if gate.name == "loss")
    assert loss.stable == pytest.approx(1.0, abs=0.01)  # but for the days' weights


def test_idle_ticks_read_no_segment_again(house):
    """Losses are computed when there are new segments or labels, and kept until then."""
    start(house)
    live_through(house, 1, quality={"d/1": 0.2, "d/2": 0.2})
    reads = []

    class CountingLog:
        def outcomes(self, *args, **kwargs):
            reads.append(1)
            raise AssertionError("nothing is new")

    house.controller._ctx = replace(house.controller._ctx, predictions=CountingLog())
    assert house.controller.tick() is False
    assert reads == []
