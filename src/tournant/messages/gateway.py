"""What a gateway tells the control plane."""

import msgspec

from tournant.domain.control import RevisionStatus

__all__ = ["LATENCY_BOUNDS_MS", "Delta", "GatewayReport", "ReportAnswer", "SegmentUpload", "latency_bucket"]

# Upper bounds of the latency histogram's buckets, in milliseconds; the last bucket is open.
LATENCY_BOUNDS_MS = (
    0.1,
    0.2,
    0.3,
    0.5,
    0.75,
    1,
    1.5,
    2,
    3,
    5,
    7.5,
    10,
    15,
    20,
    30,
    50,
    75,
    100,
    150,
    200,
    300,
    500,
    1000,
    3000,
)


def latency_bucket(index: int) -> str:
    """Name bucket `index` by its upper bound, as the histograms in the metadata do.

    >>> latency_bucket(0), latency_bucket(len(LATENCY_BOUNDS_MS))
    ('0.1', 'inf')
    """
    return f"{LATENCY_BOUNDS_MS[index]:g}" if index < len(LATENCY_BOUNDS_MS) else "inf"


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the last report of one (deployment, revision, role, rollout, epoch, bucket).

    `bucket` is the start of the hour of event time; `rows` predictions were given to `requests`, whose `latency` counts by
    `LATENCY_BOUNDS_MS`; `score_bins` counts scores from 0 to 1 in ten equal bins; `clusters` has, where a canary's split is by entity, requests, errors and over SLO by group of
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
