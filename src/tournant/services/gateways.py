"""The control plane's gateways: what they report, what they upload, and which of them live."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import zip_longest

from tournant.domain.control import GatewayState
from tournant.domain.latency import latency_bucket
from tournant.domain.predictions import Segment, Traffic
from tournant.domain.rollout import Observation
from tournant.errors import Invalid
from tournant.messages.gateway import Delta, GatewayReport, ReportAnswer, SegmentUpload
from tournant.ports import UnitOfWork
from tournant.services.context import Context
from tournant.services.routing import routing_table

__all__ = ["LIVE_SECONDS", "apply_report", "live_gateways", "register_segment", "routing_table"]

LIVE_SECONDS = 10.0  # real time since a gateway's last report; it says something at least every few seconds
_SUMMED = ("requests", "errors", "fallbacks", "over_slo", "latency_sum_ms")
_JUDGED = (*_SUMMED, "rows", "score_sum", "score_squares", "pairs", "pair_sum", "pair_squares")


def live_gateways(ctx: Context, now_real: float | None = None) -> list[GatewayState]:
    """Give the gateways heard of within `LIVE_SECONDS` of real time (`now_real`, or now), by id."""
    now_real = time.time() if now_real is None else now_real
    with ctx.transactions.begin(write=False) as uow:
        return uow.find(GatewayState, seen_at__gt=now_real - LIVE_SECONDS, order="id")


def apply_report(ctx: Context, report: GatewayReport) -> ReportAnswer:
    """Take in a gateway's report, each sequence once, and say which sequence is the last applied."""
    with ctx.transactions.begin() as uow:
        known = uow.get(GatewayState, report.gateway, lock=True)
        applied = known.sequence if known else 0
        if report.sequence > applied:
            _add_observations(uow, report.deltas)
            _add_traffic(uow, report.deltas)
            applied = report.sequence
        uow.save(_state(known, report, applied))
    return ReportAnswer(sequence=applied)


def _state(known: GatewayState | None, report: GatewayReport, applied: int) -> GatewayState:
    """What is known of a gateway now; a report from before its restart may arrive late and tells nothing new."""
    if known and report.started_at < known.started_at:
        return replace(known, sequence=applied)
    return GatewayState(
        id=report.gateway,
        url=report.url,
        started_at=report.started_at,
        seen_at=time.time(),
        routes_version=report.routes_version,
        barrier=report.barrier,
        sequence=applied,
        dropped=report.dropped,
        statuses=report.statuses,
    )


def _add_observations(uow: UnitOfWork, deltas: Iterable[Delta]) -> None:
    for delta in deltas:
        if not delta.rollout:
            continue
        key = (delta.rollout, delta.epoch, delta.revision, delta.role)
        found = uow.get(Observation, *key, lock=True)
        found = found or Observation(rollout=key[0], epoch=key[1], revision=key[2], role=key[3])
        sums = {name: getattr(found, name) + getattr(delta, name) for name in _JUDGED}
        histogram = _merged(found.histogram, delta.latency)
        clusters = _grouped(found.clusters, delta.clusters)
        bins = tuple(map(sum, zip_longest(found.score_bins, delta.score_bins, fillvalue=0)))
        uow.save(replace(found, **sums, histogram=histogram, clusters=clusters, score_bins=bins))


def _add_traffic(uow: UnitOfWork, deltas: Iterable[Delta]) -> None:
    for delta in deltas:
        key = (delta.deployment, delta.revision, delta.role, delta.bucket)
        found = uow.get(Traffic, *key, lock=True)
        found = found or Traffic(deployment=key[0], revision=key[1], role=key[2], bucket=key[3])
        sums = {name: getattr(found, name) + getattr(delta, name) for name in _SUMMED}
        uow.save(replace(found, **sums, histogram=_merged(found.histogram, delta.latency)))


def _merged(histogram: dict[str, int] | None, counts: Iterable[int]) -> dict[str, int]:
    merged = dict(histogram or {})
    for index, count in enumerate(counts):
        if count:
            name = latency_bucket(index)
            merged[name] = merged.get(name, 0) + count
    return merged


def _grouped(
    known: Mapping[str, tuple[int, int, int]], more: Mapping[str, tuple[int, int, int]]
) -> dict[str, tuple[int, int, int]]:
    grouped = dict(known)
    for group, (requests, errors, over) in more.items():
        before = grouped.get(group, (0, 0, 0))
        grouped[group] = (before[0] + requests, before[1] + errors, before[2] + over)
    return grouped


def register_segment(ctx: Context, upload: SegmentUpload) -> Segment:
    """Add an uploaded segment to the prediction log; one that is registered already stays as it is."""
    if not ctx.blobs.has(upload.digest):
        place = f"PUT /api/blobs/{upload.digest}"
        raise Invalid(f"segment {upload.digest[:12]}… is not in the content store: upload it first ({place})")
    with ctx.transactions.begin() as uow:
        known = uow.get(Segment, upload.digest)
        if known:
            return known
        segment = Segment(
            digest=upload.digest,
            deployment=upload.deployment,
            gateway=upload.gateway,
            start=upload.start,
            end=upload.end,
            rows=upload.rows,
            size_bytes=upload.size_bytes,
            registered_at=ctx.clock.now(),
        )
        uow.save(segment)
    return segment
