"""What a gateway tells the control plane."""

import msgspec

from tournant.domain.control import RevisionStatus

__all__ = ["Delta", "GatewayReport", "ReportAnswer", "SegmentUpload"]


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the last report of one (deployment, revision, role, rollout, epoch, bucket).

    `bucket` is the start of the hour of event time; `rows` predictions were given to `requests`, whose `latency` counts by
    `domain.latency.LATENCY_BOUNDS_MS`, those of a sample where they are compared and runs are shared; `score_bins` counts scores from 0 to 1 in ten equal bins; `clusters` has, where a canary's split is by entity, requests, errors and over SLO by group of
    entities; the `pair_*` sums are shadow score minus answered score on the same row.
    """

    deployment: str
    revision: str
    role: str
    rollout: str = ""
    epoch: int = 0
    bucket: float = 0.0
    rows: int = 0
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    over_slo: int = 0
    latency_sum_ms: float = 0.0
    latency: tuple[int, ...] = ()
    score_bins: tuple[int, ...] = ()
    clusters: dict[str, tuple[int, int, int]] = {}
    score_sum: float = 0.0
    score_squares: float = 0.0
    pairs: int = 0
    pair_sum: float = 0.0
    pair_squares: float = 0.0


class GatewayReport(msgspec.Struct, frozen=True, kw_only=True):
    """Sent every 500 ms while there is something to say, and at a barrier after everything is flushed.

    `sequence` grows by one with each report that has deltas; one that was applied already is ignored. `barrier` is the
    last one flushed completely (predictions registered, deltas in this report or earlier ones).
    """

    gateway: str
    url: str
    started_at: float
    sequence: int
    routes_version: int
    barrier: int
    dropped: int = 0
    deltas: tuple[Delta, ...] = ()
    statuses: tuple[RevisionStatus, ...] = ()


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The last sequence the control plane has applied: the gateway forgets up to it."""

    sequence: int


class SegmentUpload(msgspec.Struct, frozen=True, kw_only=True):
    """Registers a Parquet segment that was uploaded under `digest`."""

    digest: str
    deployment: str
    gateway: str
    start: float
    end: float
    rows: int
    size_bytes: int
