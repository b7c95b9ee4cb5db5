"""The prediction log's segments, and labels."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Label", "LabelState", "Segment", "Traffic"]


class LabelState(StrEnum):
    """Whether a label has met its prediction."""

    PENDING = "pending"
    MATCHED = "matched"
    UNMATCHED = "unmatched"  # its deadline passed without a prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One immutable Parquet file of predictions in the content store, covering event times `[start, end]`."""

    digest: str
    deployment: str
    gateway: str
    start: float
    end: float
    rows: int
    size_bytes: int
    registered_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What really happened. `reference` is a prediction id or, with the prefix `key:`, the user's own key."""

    deployment: str
    reference: str
    value: float
    event_time: float
    received_at: float
    state: LabelState = LabelState.PENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Served requests of one revision in one role within one bucket of business time (`bucket` is its start)."""

    deployment: str
    revision: str
    role: str
    bucket: float
    requests: int = 0
    errors: int = 0
    fallbacks: int = 0
    over_slo: int = 0
    latency_sum_ms: float = 0.0
    histogram: dict[str, int] | None = None
