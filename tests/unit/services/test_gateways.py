"""Reports are applied once; segments are registered once; the living are told from the dead."""

import time

import pytest

from tournant.domain.control import GatewayState, RevisionStatus
from tournant.domain.latency import LATENCY_BOUNDS_MS
from tournant.domain.predictions import Segment, Traffic
from tournant.domain.rollout import Observation
from tournant.errors import Invalid
from tournant.messages.gateway import Delta, GatewayReport, SegmentUpload
from tournant.services.gateways import apply_report, live_gateways, register_segment


def report(sequence, *, started_at=1.0, **changes):
    latency = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    latency[0], latency[-1] = 2, 1
    delta = Delta(
        deployment="d",
        revision="d/1",
        role="stable",
        rollout="r",
        epoch=2,
        bucket=3600.0,
        requests=3,
        errors=1,
        over_slo=1,
        latency_sum_ms=9.5,
        latency=tuple(latency),
        score_sum=1.5,
    )
    given = {
        "gateway": "g",
        "url": "http://127.0.0.1:1",
        "started_at": started_at,
        "routes_version": 4,
        "barrier": 0,
        "deltas": (delta,),
    }
    return GatewayReport(**{**given, **changes}, sequence=sequence)


def read(ctx, kind):
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(kind)


def test_report_is_applied_once(world):
    """By (gateway, sequence): the same twice, or an older one late, adds nothing."""
    assert apply_report(world.ctx, report(1)).sequence == 1
    assert apply_report(world.ctx, report(2)).sequence == 2
    assert apply_report(world.ctx, report(2)).sequence == 2
    assert apply_report(world.ctx, report(1)).sequence == 2
    (observation,) = read(world.ctx, Observation)
    assert (observation.requests, observation.errors, observation.score_sum) == (6, 2, 3.0)
    assert observation.histogram == {"0.1": 4, "inf": 2}
    (traffic,) = read(world.ctx, Traffic)
    assert (traffic.requests, traffic.bucket, traffic.histogram) == (6, 3600.0, {"0.1": 4, "inf": 2})


def test_gateways_are_counted_apart_and_summed(world):
    """Each has a sequence of its own."""
    apply_report(world.ctx, report(1))
    apply_report(world.ctx, report(1, gateway="h"))
    assert read(world.ctx, Observation)[0].requests == 6


def test_traffic_outside_a_rollout_is_counted_but_not_judged(world):
    """No rollout, no observation."""
    deltas = (Delta(deployment="d", revision="d/1", role="stable", requests=5),)
    apply_report(world.ctx, report(1, deltas=deltas))
    assert read(world.ctx, Observation) == []
    assert read(world.ctx, Traffic)[0].requests == 5


def test_late_report_from_before_a_restart_tells_nothing_new(world):
    """The newest process of a gateway speaks for it."""
    ready = RevisionStatus(revision="d/1", state="ready")
    apply_report(world.ctx, report(1, started_at=5.0, routes_version=9, statuses=(ready,)))
    apply_report(world.ctx, report(2, started_at=1.0, routes_version=3))
    (state,) = read(world.ctx, GatewayState)
    assert (state.routes_version, state.statuses, state.sequence) == (9, (ready,), 2)


def test_living_gateways_were_heard_of_lately(world):
    """Ten seconds of real time."""
    apply_report(world.ctx, report(1))
    assert [gateway.id for gateway in live_gateways(world.ctx)] == ["g"]
    assert live_gateways(world.ctx, time.time() + 11) == []


def test_segment_is_registered_once_and_only_when_it_is_there(context):
    """First the content, then its registration."""
    digest = context.blobs.put(b"parquet")
    upload = SegmentUpload(digest=digest, deployment="d", gateway="g", start=1.0, end=2.0, rows=3, size_bytes=7)
    assert register_segment(context, upload) == register_segment(context, upload)
    assert len(read(context, Segment)) == 1
    missing = SegmentUpload(digest="0" * 64, deployment="d", gateway="g", start=1.0, end=2.0, rows=3, size_bytes=7)
    with pytest.raises(Invalid, match="upload it first"):
        register_segment(context, missing)
